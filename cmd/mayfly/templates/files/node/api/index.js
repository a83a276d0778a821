exports.handler = async (event, context) => {
  const name = event.pathParameters.name;
  console.log(`hello to ${name}`);
  return {
    statusCode: 200,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ message: `Hello, ${name}!`, request: context.awsRequestId }),
  };
};
