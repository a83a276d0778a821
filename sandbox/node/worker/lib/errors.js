'use strict';
const path = require('path');

const HERE = path.dirname(__dirname) + path.sep;
const MAX_MESSAGE = 32 << 10, MAX_FRAMES = 100;

/** A failure with a type of the platform's. */
class Failure extends Error {
  constructor(type, message, trace) {
    super(message);
    this.name = type;
    this.trace = trace;
  }
}

/** The lines of a stack without those of the worker and of Node's loader. */
function frames(e) {
  if (e.trace) return e.trace;
  if (typeof e.stack !== 'string') return [];
  const kept = e.stack.split('\n').filter((l) => !l.includes(HERE) && !l.includes('(node:internal/') && !/^\s+at node:internal/.test(l));
  return (kept.length > MAX_FRAMES ? kept.slice(0, MAX_FRAMES) : kept).map((l) => l.slice(0, 1000));
}

function body(e) {
  if (isError(e)) {
    return { errorType: String(e.name || 'Error'), errorMessage: String(e.message).slice(0, MAX_MESSAGE), stackTrace: safely(() => frames(e), []) };
  }
  return { errorType: typeof e, errorMessage: safely(() => text(e), 'what was thrown cannot be shown').slice(0, MAX_MESSAGE), stackTrace: [] };
}

/** What was thrown as the body of an error, which never throws itself. */
function describe(e) {
  return safely(() => JSON.stringify(body(e)), '{"errorType":"Error","errorMessage":"what was thrown cannot be shown"}');
}

function readable(e) {
  return safely(() => {
    const b = body(e);
    const first = `${b.errorType}: ${b.errorMessage}`;
    return b.stackTrace.length > 0 && b.stackTrace[0].includes(b.errorMessage.split('\n')[0]) ? b.stackTrace.join('\n') : [first, ...b.stackTrace].join('\n');
  }, 'what was thrown cannot be shown');
}

function isError(e) {
  return e instanceof Error || (e !== null && typeof e === 'object' && typeof e.message === 'string' && typeof e.name === 'string');
}

function text(e) {
  return typeof e === 'string' ? e : e !== null && typeof e === 'object' ? JSON.stringify(e) : String(e);
}

function safely(f, otherwise) {
  try {
    return f();
  } catch {
    return otherwise;
  }
}

module.exports = { Failure, describe, readable, frames, HERE };
