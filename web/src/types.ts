// What the API answers, as far as the console reads it. docs/openapi describes
// all of it.
export interface Isolation { name: string; walls: string[]; missing?: Record<string, string> }
export interface NodeStatus { version: string; started: string; gateway: string; s3: string; isolation: Isolation; memory: string; dev: boolean }
export interface Alias { version: number; canary?: number; weight?: number; previous?: number }
export interface Trigger { [kind: string]: unknown }
export interface FunctionInfo {
  app: string; name: string; live: Alias; digest: string; size: string
  spec: { runtime: string; handler?: string; memory: string; timeout: string; on?: Trigger[]; egress?: string[]; allow?: string[]; concurrency?: Record<string, number> }
}
export interface Version { version: number; created: string; size: string; digest: string; message?: string; live: boolean; percent?: number; previous?: boolean }
export interface Summary {
  app: string; function: string; calls: number; rate: number; failed: number; timeouts: number; throttled: number; cold: number
  error_rate: number; cold_share: number; mean_ns: number; p50_ns: number; p90_ns: number; p99_ns: number; per_minute: number[]
}
export interface Phase { name: string; duration_ns: number }
export interface Invocation {
  id: string; app: string; function: string; version: number; trigger: string; route?: string; trace: { trace_id: string }
  attempt: number; cold?: boolean; start: string; duration_ns: number; billed_ns: number; phases?: Phase[]
  memory: string; memory_peak?: string; cpu_ns?: number; outcome: string; status?: number
  error?: { errorType: string; errorMessage: string; stackTrace?: string[] }
}
export interface LogLine { time: string; app: string; function: string; version: number; stream: string; level?: string; text: string; invocation?: string; trace_id?: string }
export interface Span {
  trace_id: string; span_id: string; parent_span_id?: string; name: string; kind: string; start: string; end: string
  app?: string; function?: string; invocation?: string; error?: string; attributes?: Record<string, string>
}
export interface TraceView { id: string; start: string; duration_ns: number; failed: boolean; spans: Span[]; logs: LogLine[] }
export interface Instances { app: string; function: string; version: number; ready: number; busy: number; idle: number; frozen: number; starting: number; waiting: number; isolation: Isolation }
export interface App { name: string; deploys?: Deploy[]; manifest: Record<string, Record<string, unknown>> }
export interface Deploy { id: string; at: string; by: string; action: string; message?: string; versions?: Record<string, number> }
