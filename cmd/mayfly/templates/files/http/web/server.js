const http = require("node:http");

const server = http.createServer((req, res) => {
  console.log(req.method, req.url);
  res.setHeader("content-type", "text/plain");
  res.end(`Hello from ${req.url}\n`);
});

server.listen(process.env.PORT);
process.on("SIGTERM", () => server.close(() => process.exit(0)));
