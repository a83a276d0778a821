const { randomBytes } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const mayfly = require("mayfly");

const links = mayfly.kv("links");
const clicks = mayfly.kv("clicks");
const page = readFileSync(join(__dirname, "page.html"), "utf8");

exports.handler = async (event) => {
  switch (event.routeKey) {
    case "GET /":
      return { statusCode: 200, headers: { "content-type": "text/html; charset=utf-8" }, body: page };
    case "GET /api/links":
      return list();
    case "POST /api/links":
      return create(event);
    case "DELETE /api/links/{code}":
      return remove(event.pathParameters.code);
  }
  return reply(404, { error: `no such route: ${event.routeKey}` });
};

async function list() {
  const all = [];
  for await (const { key, value } of links.entries()) all.push({ code: key, ...value });
  return reply(200, { links: all });
}

async function create(event) {
  let wish;
  try {
    const body = event.isBase64Encoded ? Buffer.from(event.body, "base64").toString() : event.body;
    wish = JSON.parse(body);
    const { protocol } = new URL(wish.url);
    if (protocol !== "http:" && protocol !== "https:") throw new Error("a link goes to http or https");
  } catch (err) {
    return reply(400, { error: `send {"url": "https://…"}: ${err.message}` });
  }
  if (wish.code !== undefined && !/^[A-Za-z0-9_-]{1,40}$/.test(wish.code)) {
    return reply(400, { error: "a code is 1 to 40 letters, digits, - or _" });
  }
  const code = wish.code ?? randomBytes(5).toString("base64url");
  try {
    await links.put(code, { url: wish.url, created: new Date().toISOString() }, { absent: true });
  } catch (err) {
    if (err.code === "conflict") return reply(409, { error: `${code} is taken` });
    throw err;
  }
  console.log(`${code} is ${wish.url}`);
  return reply(201, { code, url: wish.url });
}

async function remove(code) {
  await links.delete(code);
  await clicks.delete(code);
  return { statusCode: 204 };
}

const reply = (statusCode, body) => ({
  statusCode,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});
