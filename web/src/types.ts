// What the API answers, as far as the console reads it. /openapi.json describes
// all of it.
export interface Isolation { name: string; walls: string[]; missing?: Record<string, string> }
export interface NodeStatus { version: string; started: string; gateway: string; s3: string; isolation: Isolation; memory: string; dev: boolean }
export interface Alias { version: number; canary?: number; weight?: number; previous?: number }
export interface Trigger { [kind: string]: unknown }
export interface Spec {
  runtime: string; handler?: string; memory: string; timeout: string; on?: Trigger[]; egress?: string[]; allow?: string[]; secrets?: string[]
  env?: Record<string, string>; concurrency?: { per_instance?: number; max?: number; warm?: number; queue?: number }; keep_alive?: string
}
export interface FunctionInfo { app: string; name: string; live: Alias; digest: string; size: string; spec: Spec; stats?: Summary }
export interface Version { version: number; created: string; size: string; digest: string; message?: string; deploy: string; spec: Spec; live: boolean; percent?: number; previous?: boolean }
export interface Summary {
  app: string; function: string; version?: number; calls: number; rate: number; failed: number; timeouts: number; throttled: number; cold: number
  error_rate: number; cold_share: number; mean_ns: number; p50_ns: number; p90_ns: number; p99_ns: number; per_minute: number[]
}
export interface Phase { name: string; duration_ns: number }
export interface Invocation {
  id: string; app: string; function: string; version: number; trigger: string; route?: string; trace: { trace_id: string }
  attempt: number; cold?: boolean; start: string; duration_ns: number; billed_ns: number; phases?: Phase[]; isolation?: string
  memory: string; memory_peak?: string; cpu_ns?: number; outcome: string; status?: number
  error?: { errorType: string; errorMessage: string; stackTrace?: string[] }
}
export interface LogLine {
  time: string; app: string; function: string; version: number; instance?: string; stream: string; level?: string; text: string
  invocation?: string; trace_id?: string; span_id?: string; message?: string; fields?: Record<string, unknown>
}
export interface Span {
  trace_id: string; span_id: string; parent_span_id?: string; name: string; kind: string; start: string; end: string
  app?: string; function?: string; invocation?: string; error?: string; attributes?: Record<string, string>
}
export interface TraceView { id: string; start: string; duration_ns: number; failed: boolean; spans: Span[]; logs: LogLine[]; invocations?: Invocation[] }
export interface Instances { app: string; function: string; version: number; ready: number; busy: number; idle: number; frozen: number; starting: number; waiting: number; isolation: Isolation }
export interface AppSummary { name: string; functions: number; resources?: Record<string, number>; deployed?: Deploy }
export interface Deploy { id: string; at: string; by: string; action: string; message?: string; versions?: Record<string, number> }
export interface FieldChange { field: string; old?: string; new?: string }
export interface Plan {
  app: string; new?: boolean
  functions?: { function: string; action: string; runtime?: string; from?: number; to?: number; fields?: FieldChange[]; triggers?: { action: string; kind: string; on: string; fields?: FieldChange[] }[] }[]
  resources?: { kind: string; name: string; action: string; fields?: FieldChange[] }[]
  settings?: FieldChange[]
}
