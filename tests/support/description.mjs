// What the API's description (schema/openapi.yaml) says of an answer: each one that a test gets is held against it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { parse } from "yaml";

const document = parse(readFileSync(fileURLToPath(new URL("../../schema/openapi.yaml", import.meta.url)), "utf8"));

const unescape = (name) => decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~");
const at = (reference) => reference.slice(2).split("/").reduce((part, name) => part[unescape(name)], document);
const resolve = (part) => (part?.$ref ? resolve(at(part.$ref)) : part);

/// Members that nobody described are errors, too, where the description does not say otherwise.
function closed(schema, isPart = false) {
  if (Array.isArray(schema)) return schema.map((part) => closed(part, isPart));
  if (typeof schema !== "object" || schema === null) return schema;
  const copy = {};
  for (const [name, value] of Object.entries(schema)) {
    if (["enum", "const", "default", "example", "examples", "required"].includes(name)) copy[name] = value;
    else if (["properties", "$defs"].includes(name)) {
      copy[name] = Object.fromEntries(Object.entries(value).map(([member, part]) => [member, closed(part)]));
    } else copy[name] = closed(value, ["allOf", "anyOf", "oneOf", "if", "then", "else", "not"].includes(name));
  }
  const isObject = "$ref" in copy || "properties" in copy || "allOf" in copy || "anyOf" in copy || "oneOf" in copy;
  if (isObject && !isPart && !("additionalProperties" in copy)) copy.unevaluatedProperties = false;
  return copy;
}

/// A component says nothing of what others may add to it: whoever refers to it does.
function closedComponents(schemas) {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, closed(schema, true)]));
}

const ajv = new Ajv2020({ strict: false, allErrors: true, validateSchema: false });
addFormats(ajv);
ajv.addSchema({ $id: "description", components: { schemas: closedComponents(document.components.schemas) } });

const validators = new Map();
function validator(schema) {
  if (!validators.has(schema)) {
    const refersTo = (text) => text.replaceAll('"#/components/', '"description#/components/');
    validators.set(schema, ajv.compile(JSON.parse(refersTo(JSON.stringify(closed(schema))))));
  }
  return validators.get(schema);
}

const PATHS = Object.entries(document.paths).map(([template, item]) => {
  const found = resolve(item);
  const pattern = template.split("/").map((segment) => {
    const name = /^\{(.*)\}$/.exec(segment)?.[1];
    if (!name) return segment.replaceAll(".", "\\.");
    const parameter = (found.parameters ?? []).map(resolve).find((parameter) => parameter.name === name);
    return parameter?.schema.enum ? `(?:${parameter.schema.enum.join("|")})` : "[^/]+";
  });
  return { template, item: found, pattern: new RegExp(`^${pattern.join("/")}$`), names: template.split("{").length };
}).sort((a, b) => a.names - b.names);

/// The operation of the description that this request is for, if it has one.
export function described(method, path) {
  const [pathname] = path.split("?");
  const found = PATHS.find(({ pattern }) => pattern.test(pathname));
  const operation = found?.item[method.toLowerCase()];
  return operation && { template: found.template, operation };
}

/// Holds an answer against what is said of its endpoint: the status, the type, and each member of the body.
export function assertDescribed(method, path, { status, headers, text, body }) {
  const { operation, template } = described(method, path) ?? {};
  if (!operation) return;
  const what = `${method} ${path} (${template}): ${status} ${text.slice(0, 500)}`;
  const response = resolve(operation.responses[status] ?? operation.responses.default);
  assert.ok(response, `its status is not described: ${what}`);
  for (const [name, header] of Object.entries(response.headers ?? {})) {
    assert.ok(!resolve(header).required || headers.has(name), `there is no header ${name}: ${what}`);
  }
  const content = Object.entries(response.content ?? {});
  const type = headers.get("content-type")?.split(";")[0];
  if (content.length === 0) return assert.equal(text, "", `it has a body: ${what}`);
  const [, media] = content.find(([name]) => name.split(";")[0] === type) ?? [];
  assert.ok(media, `its type ${type} is not described: ${what}`);
  const validate = validator(media.schema);
  assert.ok(validate(body ?? text), `its body is not as described: ${ajv.errorsText(validate.errors)}; ${what}`);
}

/// Every operation that is described.
export function operations() {
  return PATHS.flatMap(({ template, item }) =>
    ["get", "post", "put", "patch", "delete"]
      .filter((method) => method in item)
      .map((method) => {
        const operation = item[method];
        const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolve);
        const query = parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name);
        return { path: template, method, operation, query, tags: operation.tags ?? [] };
      }),
  );
}
