// The platform's key-value stores over HTTP. A function holds no credential: the
// address is its own, and its `allow` lines say what it may do there.
const base = `${process.env.MAYFLY_ENDPOINT}/v1/apps/${process.env.MAYFLY_APP}/kv`;

async function call(method, path, { headers, body } = {}) {
  const res = await fetch(base + path, { method, headers, body });
  const text = await res.text();
  if (res.ok) return text ? JSON.parse(text) : {};
  const problem = JSON.parse(text);
  throw Object.assign(new Error(problem.detail), { code: problem.code });
}

const key = (store, name) => `/${store}/keys/${encodeURIComponent(name)}`;

exports.put = (store, name, value, { onlyNew } = {}) =>
  call("PUT", key(store, name), {
    headers: { "content-type": "application/json", ...(onlyNew && { "if-none-match": "*" }) },
    body: JSON.stringify(value),
  });

exports.remove = (store, name) => call("DELETE", key(store, name));

exports.list = async (store) => {
  const all = [];
  for (let after = ""; ; ) {
    const page = await call("GET", `/${store}/keys?values=true&limit=1000&after=${encodeURIComponent(after)}`);
    all.push(...page.keys);
    if (!page.next) return all;
    after = page.next;
  }
};
