const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { randomBytes } = require("node:crypto");

const page = readFileSync(join(__dirname, "page.html"), "utf8");
const api = `${process.env.MAYFLY_ENDPOINT}/v1/apps/${process.env.MAYFLY_APP}`;

exports.handler = async (event) => {
  switch (event.routeKey) {
    case "GET /":
      return { statusCode: 200, headers: { "content-type": "text/html; charset=utf-8" }, body: page };
    case "POST /photos":
      return upload(event);
    case "GET /photos":
      return list();
  }
  return reply(404, { error: `no such route: ${event.routeKey}` });
};

// upload puts the body into the bucket and answers: the rest follows from the
// bucket's event.
async function upload(event) {
  const type = event.headers["content-type"] ?? "";
  const ending = { "image/jpeg": "jpg", "image/png": "png", "image/gif": "gif" }[type];
  if (!ending) return reply(400, { error: "send an image/jpeg, image/png or image/gif" });
  const name = `${randomBytes(6).toString("hex")}.${ending}`;
  const body = Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8");
  await call("PUT", `/buckets/uploads/objects/raw/${name}`, body, type);
  return reply(202, { name });
}

// list is the rows with their thumbnails, and the counters.
async function list() {
  const { rows } = await call("POST", "/databases/main/query", JSON.stringify({
    sql: "SELECT name, width, height, bytes, created FROM photos ORDER BY created DESC, name LIMIT 100",
  }), "application/json");
  const { keys } = await call("GET", "/kv/counters/keys?values=true");
  return reply(200, {
    photos: rows.map(([name, width, height, bytes, created]) => ({
      name, width, height, bytes, created, thumbnail: `/_bucket/photos/thumbs/${name}.jpg`,
    })),
    counters: Object.fromEntries(keys.map((k) => [k.key, k.value])),
  });
}

async function call(method, path, body, type) {
  const res = await fetch(api + path, { method, body, headers: type ? { "content-type": type } : {} });
  const text = await res.text();
  if (!res.ok) throw new Error(`${method} ${path}: ${res.status} ${text}`);
  return JSON.parse(text);
}

const reply = (statusCode, body) => ({
  statusCode,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});
