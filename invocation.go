package mayfly

import "time"

// Outcome is how an invocation ended.
type Outcome string

const (
	OutcomeOK        Outcome = "ok"
	OutcomeError     Outcome = "error"     // the handler failed
	OutcomeTimeout   Outcome = "timeout"   // its time was up
	OutcomeMemory    Outcome = "oom"       // it ran out of memory
	OutcomeExit      Outcome = "exit"      // its process ended
	OutcomeThrottled Outcome = "throttled" // it never started
	OutcomeCancelled Outcome = "cancelled" // the caller went away
	OutcomeInternal  Outcome = "internal"  // a fault of the platform
)

// PhaseName names a part of an invocation's time, in the order they happen.
type PhaseName string

const (
	PhaseQueue   PhaseName = "queue"   // waited for an instance
	PhaseSandbox PhaseName = "sandbox" // namespaces, root, limits
	PhaseRuntime PhaseName = "runtime" // the interpreter or program began
	PhaseInit    PhaseName = "init"    // the user's imports and module code
	PhaseCall    PhaseName = "call"    // the handler ran
)

// Phase is one part of a cold call's time.
type Phase struct {
	Name     PhaseName     `json:"name"`
	Duration time.Duration `json:"duration_ns"`
}

// Invocation is the record of one call. It is made for every call, and never
// sampled.
type Invocation struct {
	ID       string       `json:"id"`
	App      AppName      `json:"app"`
	Function FunctionName `json:"function"`
	Version  int          `json:"version"`
	Trigger  TriggerKind  `json:"trigger"`
	Route    string       `json:"route,omitempty"` // of an HTTP call
	Trace    Trace        `json:"trace"`
	Attempt  int          `json:"attempt"` // 1 for the first
	Instance string       `json:"instance,omitempty"`
	Cold     bool         `json:"cold,omitempty"`

	// Isolation is the tier of the instance's sandbox: full, partial or plain.
	Isolation string `json:"isolation,omitempty"`

	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration_ns"` // of the handler
	Billed   time.Duration `json:"billed_ns"`   // Duration, and init where cold, rounded up to 1 ms
	Phases   []Phase       `json:"phases,omitempty"`

	Memory     Bytes         `json:"memory"`                // configured
	MemoryPeak Bytes         `json:"memory_peak,omitempty"` // of the instance so far
	CPU        time.Duration `json:"cpu_ns,omitempty"`      // of the instance during the call; shared where calls overlap

	Outcome  Outcome        `json:"outcome"`
	Status   int            `json:"status,omitempty"` // of an HTTP reply
	Error    *FunctionError `json:"error,omitempty"`
	BytesIn  int64          `json:"bytes_in"`
	BytesOut int64          `json:"bytes_out"`

	Event  []byte `json:"event,omitempty"` // the input, kept where recording is on or the call failed
	Caller Caller `json:"caller,omitzero"`
}

// LogStream is where a line came from.
type LogStream string

const (
	Stdout   LogStream = "stdout"
	Stderr   LogStream = "stderr"
	Platform LogStream = "platform" // said by the platform about the function
)

// LogLine is one line of a function's output.
type LogLine struct {
	Time       time.Time    `json:"time"`
	App        AppName      `json:"app"`
	Function   FunctionName `json:"function"`
	Version    int          `json:"version"`
	Instance   string       `json:"instance,omitempty"`
	Stream     LogStream    `json:"stream"`
	Level      string       `json:"level,omitempty"` // debug, info, warn, error; "" unknown
	Text       string       `json:"text"`
	Invocation string       `json:"invocation,omitempty"`
	TraceID    string       `json:"trace_id,omitempty"`
	SpanID     string       `json:"span_id,omitempty"`
}
