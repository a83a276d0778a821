exports.handler = async (event, context) => {
  const name = event.pathParameters ? event.pathParameters.name : event.name ?? "world";
  console.log(`greeting ${name}`);
  return {
    statusCode: 200,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      message: `${process.env.GREETING}, ${name}!`,
      from: "node",
      request_id: context.awsRequestId,
      remaining_ms: context.getRemainingTimeInMillis(),
    }),
  };
};
