const http = require("node:http");

http
  .createServer((req, res) => {
    res.setHeader("content-type", "text/plain");
    res.end(`${process.env.GREETING} from a server: ${req.method} ${req.url}\n`);
  })
  .listen(process.env.PORT);
