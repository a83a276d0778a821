/** A duration such as "30s", "1h" or "7d". */
export type Duration = string;

/** A queue of the app's. A function needs `send queue/NAME` in its `allow`. */
export interface Queue {
  readonly name: string;
  /** Sends one message and returns its id. It is stored durably by then. */
  send(body: unknown, options?: { key?: string; delay?: Duration; deduplicationId?: string; attributes?: Record<string, string> }): Promise<string>;
  /** Sends several messages, all or none. */
  sendAll(bodies: Iterable<unknown>): Promise<string[]>;
}

/** A topic of the app's. A function needs `publish topic/NAME`. */
export interface Topic {
  readonly name: string;
  /** Publishes one event and returns its id. A second event with the same id is the first. */
  publish(data: unknown, options?: { subject?: string; id?: string; [extension: string]: string | undefined }): Promise<string>;
}

/** A value with its revision, for writes that must not overwrite another's. */
export interface Entry<T = unknown> {
  key: string;
  value: T;
  revision: number;
  expires?: string;
}

/** A key-value store of the app's. Uint8Arrays are stored as they are; everything else as JSON. A function needs `read`, `write`, `delete` or `list kv/NAME`. */
export interface KV {
  readonly name: string;
  get<T = any>(key: string, otherwise?: T): Promise<T>;
  entry<T = any>(key: string): Promise<Entry<T> | undefined>;
  /** Writes a value and returns its revision. With `revision`, only over that one; with `absent`, only where there is none: a MayflyError with the code conflict otherwise. */
  put(key: string, value: unknown, options?: { ttl?: Duration; revision?: number; absent?: boolean }): Promise<number>;
  /** Deletes a key and reports whether it was there. */
  delete(key: string, options?: { revision?: number }): Promise<boolean>;
  /** Adds to a whole number, atomically, and returns the new one. */
  increment(key: string, by?: number, options?: { ttl?: Duration }): Promise<number>;
  keys(prefix?: string): AsyncIterable<string>;
  entries<T = any>(prefix?: string): AsyncIterable<Entry<T>>;
}

export function queue(name: string): Queue;
export function topic(name: string): Topic;
export function kv(name: string): KV;

/** The current value of a secret. A function needs `read secret/NAME`. */
export function secret(name: string): Promise<string>;

/** Calls another function of the app's: `call function/NAME`. With `wait: false` the call is accepted durably, and its id returned. */
export function invoke<T = any>(name: string, event?: unknown, options?: { qualifier?: string; wait?: boolean }): Promise<T>;

/** The platform refused or failed. */
export class MayflyError extends Error {
  readonly code: 'invalid' | 'unauthorized' | 'denied' | 'not_found' | 'conflict' | 'too_large' | 'throttled' | 'quota' | 'timeout' | 'unavailable' | 'function_failed' | 'internal';
  readonly status: number;
}

/** A function that was invoked failed. */
export class FunctionError extends MayflyError {
  readonly type: string;
  readonly trace: string[];
}
