'use strict';
exports.handler = async (event, context) => {
  console.log('%s', event.rawPath);
  return { statusCode: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ id: context.awsRequestId }) };
};
