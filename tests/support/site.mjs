// An HTTP server of this machine, in place of a publisher's.
import { once } from "node:events";
import { createServer } from "node:http";

/// `answer(request, response)` may be replaced at any time. `asked` are the requests so far, each
/// "METHOD host path".
export class Site {
  answer = (_, response) => response.writeHead(404).end();
  asked = [];
  #server;
  #port;

  static async start(answer) {
    const site = new Site();
    if (answer) site.answer = answer;
    await site.listen(0);
    return site;
  }

  async listen(port = this.#port) {
    this.#server = createServer((request, response) => {
      const host = request.headers["x-test-host"] ?? request.headers.host;
      this.asked.push(`${request.method} ${host} ${request.url}`);
      this.answer(request, response);
    }).listen(port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = this.#server.address().port;
  }

  get port() {
    return this.#port;
  }

  get origin() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /// Like a program that is killed: whoever is connected is cut off.
  async stop() {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

/// What the body of a request is, once it is there.
export async function readJson(request) {
  const chunks = await request.setEncoding("utf8").toArray();
  return JSON.parse(chunks.join(""));
}
