'use strict';
const fs = require('fs');
const Module = require('module');
const path = require('path');
const { pathToFileURL } = require('url');
const { Failure, frames, HERE } = require('./errors');
const { STREAMING } = require('./stream');

const PLAIN = ['.js', '.mjs', '.cjs'], TYPED = ['.ts', '.mts', '.cts'];

/** Sets what the function's code expects around it. */
function prepare(order) {
  Object.assign(process.env, order.env);
  process.chdir(order.root);
  process.argv = [process.argv[0], path.join(order.root, order.handler)];
  process.env.NODE_PATH = [process.env.NODE_PATH, path.join(path.dirname(__dirname), 'modules')].filter(Boolean).join(path.delimiter);
  Module._initPaths();
}

/** The file and the names of the export that a handler means. */
function resolve(root, handler) {
  const base = path.basename(handler);
  const whole = path.join(root, handler);
  if (isFile(whole) || !base.includes('.')) return { file: isFile(whole) ? whole : find(whole, handler), names: [] };
  const dot = base.indexOf('.');
  const stem = path.join(root, path.dirname(handler), base.slice(0, dot));
  return { file: find(stem, path.join(path.dirname(handler), base.slice(0, dot))), names: base.slice(dot + 1).split('.') };
}

function find(stem, name) {
  for (const start of [stem, path.join(stem, 'index')]) for (const ext of [...PLAIN, ...TYPED]) if (isFile(start + ext)) return start + ext;
  throw new Failure('Runtime.ImportModuleError', `Error: Cannot find module '${name}': there is no ${name}.js, .mjs, .cjs or .ts in the bundle`, []);
}

function isFile(p) {
  return fs.statSync(p, { throwIfNoEntry: false })?.isFile() === true;
}

/** Whether a .js file is an ES module, by the nearest package.json. */
function isModule(file, root) {
  for (let dir = path.dirname(file); dir.startsWith(root); dir = path.dirname(dir)) {
    const p = path.join(dir, 'package.json');
    if (isFile(p)) {
      try {
        return JSON.parse(fs.readFileSync(p, 'utf8')).type === 'module';
      } catch {
        return false;
      }
    }
    if (dir === path.dirname(dir)) break;
  }
  return false;
}

let offered = false;

/** Lets ES modules import "mayfly" where cells have no root of their own, and so no /node_modules. */
function offerModule() {
  if (offered || !Module.register || isFile('/node_modules/mayfly/index.js')) return;
  offered = true;
  const url = pathToFileURL(path.join(path.dirname(__dirname), 'modules', 'mayfly', 'index.js')).href;
  const hooks = `export async function resolve(s, c, next) {
    try { return await next(s, c) } catch (e) { if (s === 'mayfly') return { url: ${JSON.stringify(url)}, shortCircuit: true }; throw e }
  }`;
  Module.register(`data:text/javascript,${encodeURIComponent(hooks)}`);
}

async function evaluate(file, root) {
  const ext = path.extname(file);
  if (TYPED.includes(ext) && !process.features.typescript && !process.execArgv.includes('--experimental-strip-types')) {
    throw new Failure('Runtime.ImportModuleError', `Node ${process.version} cannot run TypeScript (${path.relative(root, file)}): it takes Node 22.18 or newer, or a build step that makes JavaScript`, []);
  }
  if (ext === '.mjs' || ext === '.mts' || ((ext === '.js' || ext === '.ts') && isModule(file, root))) {
    offerModule();
    return import(pathToFileURL(file));
  }
  try {
    return require(file);
  } catch (e) {
    if (e?.code === 'ERR_REQUIRE_ESM' || e?.code === 'ERR_REQUIRE_ASYNC_MODULE' || (e instanceof SyntaxError && moduleSyntax.test(e.message))) {
      return import(pathToFileURL(file)); // written as an ES module and not marked as one
    }
    throw e;
  }
}

const moduleSyntax = /Cannot use import statement outside a module|Unexpected token 'export'|Cannot use 'import\.meta' outside a module|await is only valid in async functions/;

/** The handler and its shape: lambda, stream or fetch. */
async function load(root, handler) {
  const { file, names } = resolve(root, handler);
  let exported;
  try {
    exported = await evaluate(file, root);
  } catch (e) {
    throw ofLoad(e, file, root);
  }
  return shaped(exported, names, handler);
}

function shaped(exported, names, handler) {
  let found = exported;
  if (names.length === 0) {
    found = exported?.default ?? exported;
    if (found?.default !== undefined && typeof found !== 'function' && typeof found.fetch !== 'function') found = found.default;
    if (typeof found?.fetch === 'function') return { handler: found, shape: 'fetch' };
    if (typeof found !== 'function') {
      throw new Failure('Runtime.HandlerNotFound', `${handler} has no default export with a fetch function; write the handler as file.export to name another export`, []);
    }
  } else {
    found = member(exported, names) ?? member(exported?.default, names);
    if (typeof found?.fetch === 'function') return { handler: found, shape: 'fetch' };
    if (typeof found !== 'function') throw new Failure('Runtime.HandlerNotFound', `${handler} is undefined or not exported${offers(exported)}`, []);
  }
  return { handler: found, shape: found[STREAMING] === 'response' ? 'stream' : 'lambda' };
}

/** The functions that a file exports, for whoever named another. */
function offers(exported) {
  const names = Object.entries(exported ?? {}).flatMap(([k, v]) => (typeof v === 'function' ? [k] : []));
  return names.length > 0 ? `; exported is ${names.slice(0, 5).join(', ')}` : '';
}

function member(from, names) {
  let found = from;
  for (const n of names) found = found === undefined || found === null ? undefined : found[n];
  return found;
}

/** The failure for what a module's evaluation threw. */
function ofLoad(e, file, root) {
  if (e instanceof Failure) return e;
  if (e instanceof SyntaxError) {
    const where = place(e, file);
    return new Failure('Runtime.UserCodeSyntaxError', `SyntaxError: ${e.message}${where ? ` (${relative(where, root)})` : ''}`, where ? [`    at ${where}`] : frames(e));
  }
  if (e?.code === 'MODULE_NOT_FOUND' || e?.code === 'ERR_MODULE_NOT_FOUND') {
    return new Failure('Runtime.ImportModuleError', `Error: ${e.message.split('\n').filter((l) => !l.startsWith('- ' + HERE)).join('\n')}`, frames(e));
  }
  return e;
}

/** "file:line" of a syntax error. The loader of ES modules does not tell; a check of the file does. */
function place(e, file) {
  const at = /^(?:file:\/\/)?(\/.*:\d+)\n/.exec(e.stack ?? '');
  if (at) return at[1];
  const said = require('child_process').spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', timeout: 5000, env: {} });
  return /^(?:file:\/\/)?(\/.*:\d+)\n/.exec(said.stderr ?? '')?.[1] ?? '';
}

function relative(where, root) {
  return where.startsWith(root + path.sep) ? where.slice(root.length + 1) : where;
}

module.exports = { prepare, load, offerModule };
