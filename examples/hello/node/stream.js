/* global awslambda */
exports.handler = awslambda.streamifyResponse(async (event, responseStream) => {
  const out = awslambda.HttpResponseStream.from(responseStream, {
    statusCode: 200,
    headers: { "content-type": "text/plain" },
  });
  for (const word of [`${process.env.GREETING},`, `${event.pathParameters.name},`, "piece", "by", "piece!\n"]) {
    out.write(word + " ");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  out.end();
});
