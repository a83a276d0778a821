// Tries to get out of its sandbox, in Node.
const fs = require("fs"), net = require("net"), http = require("http"), { execFileSync, spawn } = require("child_process"), { Worker } = require("worker_threads")

const read = path => { if (!fs.readFileSync(path).length) throw new Error("empty") }
const run = (...line) => execFileSync(line[0], line.slice(1), { stdio: "pipe" })
const dial = addr => new Promise((done, failed) => {
  const at = addr.lastIndexOf(":")
  const c = net.connect({ host: addr.slice(0, at), port: +addr.slice(at + 1), timeout: 5000 }, () => { c.destroy(); done() })
  c.on("error", failed)
  c.on("timeout", () => { c.destroy(); failed(new Error("timeout")) })
})
const request = (method, path) => new Promise((done, failed) => {
  const headers = { authorization: "Bearer nonsense", "x-mayfly-caller": "admin", "content-type": "application/json" }
  const r = http.request(process.env.MAYFLY_ENDPOINT + path, { method, headers }, res => {
    res.resume()
    res.statusCode < 300 ? done() : failed(new Error(res.statusCode))
  })
  r.on("error", failed)
  r.end(method === "GET" ? undefined : "1")
})

// Answers calls that this instance does not have: nobody may notice.
function forge() {
  for (let id = 1000; id < 1064; id++) {
    const frame = Buffer.alloc(20)
    frame.writeUInt32LE(8, 0)
    frame.writeUInt32LE(id, 4)
    frame[8] = 19
    frame.write('"forged"', 12)
    fs.writeSync(3, frame)
  }
}

function* escapes(w) {
  const files = [...w.files, "/proc/1/environ", "/proc/1/mem", "/proc/kcore", "/dev/mem", "/tmp/neighbor"]
  for (const p of files) yield ["read " + p, () => read(p)]
  for (const p of w.files) yield ["follow a link to " + p, () => { fs.rmSync("/tmp/link", { force: true }); fs.symlinkSync(p, "/tmp/link"); read("/tmp/link") }]
  for (const p of [...w.files, "/var/task/app.js", "/usr/bin/env"]) yield ["link " + p, () => fs.linkSync(p, "/tmp/hard" + p.replaceAll("/", "-"))]
  for (const p of w.places) yield ["write " + p, () => fs.writeFileSync(p, "1")]
  for (const a of w.services) yield ["dial " + a, () => dial(a)]
  for (const [method, path] of w.requests) yield [method + " " + path, () => request(method, path)]
  yield ["become root", () => process.setuid(0)]
  yield ["kill init", () => { process.kill(1, "SIGKILL"); run("sleep", "0.1"); throw new Error("it lives") }]
  yield ["mount", () => run("mount", "-t", "tmpfs", "x", "/tmp")]
  yield ["unshare", () => run("unshare", "-U", "true")]
  yield ["mknod", () => run("mknod", "/tmp/node", "c", "1", "1")]
  yield ["chroot", () => run("chroot", "/tmp", "/bin/true")]
  yield ["load a module", () => run("insmod", "/tmp/x.ko")]
}

async function bomb(kind) {
  const held = []
  try {
    for (;;) {
      if (kind === "processes") {
        const child = spawn("sleep", ["1000"])
        await new Promise((done, failed) => { child.on("spawn", done); child.on("error", failed) })
        held.push(child)
      } else if (kind === "threads") {
        if (held.length >= 10000) return "ESCAPED 10,000 threads"
        const w = new Worker("setInterval(() => {}, 1000)", { eval: true })
        await new Promise((done, failed) => { w.on("online", done); w.on("error", failed) })
        held.push(w)
      } else if (kind === "descriptors") held.push(fs.openSync("/dev/null"))
      else if (kind === "disk") fs.appendFileSync("/tmp/fill", Buffer.alloc(1 << 20))
      else if (kind === "memory") held.push(Buffer.alloc(1 << 20, 1))
      else if (kind === "frames") fs.writeSync(3, Buffer.alloc(4096, 7))
    }
  } catch (e) {
    return "held: " + e.message
  }
}

exports.handler = async event => {
  if (event.bomb) return bomb(event.bomb)
  const escaped = []
  let held = 0
  forge()
  for (const [name, attempt] of escapes(event)) {
    try {
      await attempt()
      escaped.push(name)
    } catch { held++ }
  }
  const program = JSON.parse(execFileSync("/var/task/native", ["escape"], { input: JSON.stringify(event) }))
  return { escaped: [...escaped, ...program.escaped || []], held: held + program.held }
}
