// What the platform serves without the Worker, into dist/: the API's description, in both spellings, and
// a page that shows it.
import { copyFileSync, cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const swagger = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));

rmSync("dist", { recursive: true, force: true });
cpSync("site", "dist", { recursive: true });
copyFileSync("schema/openapi.yaml", "dist/openapi.yaml");
writeFileSync("dist/openapi.json", JSON.stringify(parse(readFileSync("schema/openapi.yaml", "utf8"))));
for (const [file, name = file] of [
  ["swagger-ui-bundle.js"],
  ["swagger-ui-bundle.js.LICENSE.txt"],
  ["swagger-ui.css"],
  ["LICENSE", "swagger-ui.LICENSE.txt"],
  ["favicon-32x32.png", "icon.png"],
]) {
  copyFileSync(join(swagger, file), join("dist/docs", name));
}
