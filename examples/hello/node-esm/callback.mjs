export function handler(event, context, callback) {
  setTimeout(() => {
    callback(null, { message: `${process.env.GREETING}, ${event.pathParameters.name}!`, from: "node-callback" });
  }, 5);
}
