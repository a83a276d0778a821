'use strict';

/** Lambda's context object, made from the fields of a CALL frame. attempt, trigger and traceparent are Mayfly's own. */
class Context {
  constructor(order, fields) {
    this.callbackWaitsForEmptyEventLoop = true;
    this.functionName = order.function;
    this.functionVersion = order.version;
    this.memoryLimitInMB = order.memory;
    this.logGroupName = order.log_group;
    this.logStreamName = order.log_stream;
    this.clientContext = undefined;
    this.identity = undefined;
    this.awsRequestId = fields[0];
    this.invokedFunctionArn = fields[3];
    this.trigger = fields[4];
    this.attempt = +fields[5];
    this.traceparent = fields[6];
    this.hops = fields[7];
    const deadline = +fields[2];
    this.getRemainingTimeInMillis = () => (deadline === 0 ? 900000 : Math.max(0, deadline - Date.now()));
  }

  /** The oldest way to answer: context.done, succeed and fail do not wait for the event loop. */
  answerBy(callback) {
    this.done = (err, result) => {
      this.callbackWaitsForEmptyEventLoop = false;
      callback(err, result);
    };
    this.succeed = (result) => this.done(null, result);
    this.fail = (err) => this.done(err === undefined || err === null ? 'handled' : err);
    for (const name of ['done', 'succeed', 'fail', 'answerBy']) Object.defineProperty(this, name, { enumerable: false });
  }
}
Object.defineProperty(Context.prototype, 'answerBy', { enumerable: false });

module.exports = { Context };
