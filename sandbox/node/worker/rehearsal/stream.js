'use strict';
exports.handler = awslambda.streamifyResponse(async (event, out) => {
  awslambda.HttpResponseStream.from(out, { statusCode: 200, headers: {} }).end(event.rawPath);
});
