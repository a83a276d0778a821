export default { fetch: async (request) => Response.json({ url: request.url }) };
