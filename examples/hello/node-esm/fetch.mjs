export default {
  async fetch(request) {
    const url = new URL(request.url);
    return Response.json({
      message: `${process.env.GREETING} from fetch`,
      method: request.method,
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      body: request.body ? await request.text() : "",
    });
  },
};
