package mayfly

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Code says what kind of failure an error is. It decides the HTTP status, the
// exit status of a CLI verb and whether a retry makes sense.
type Code string

const (
	Invalid        Code = "invalid"         // the request is wrong and will stay wrong
	Unauthorized   Code = "unauthorized"    // no or a wrong credential
	Denied         Code = "denied"          // known caller, not allowed
	NotFound       Code = "not_found"       // the named thing does not exist
	Conflict       Code = "conflict"        // the state changed or forbids it
	TooLarge       Code = "too_large"       // over a size limit
	Throttled      Code = "throttled"       // no capacity now; retry later
	Quota          Code = "quota"           // a budget or quota is used up
	Timeout        Code = "timeout"         // the deadline passed
	Unavailable    Code = "unavailable"     // a part is down or draining
	FunctionFailed Code = "function_failed" // the user's code failed
	Internal       Code = "internal"        // a fault of the platform
)

// codes is the one table from a Code to its HTTP status, its CLI exit status
// and whether the same request may succeed later.
var codes = map[Code]struct {
	status, exit int
	retry        bool
}{
	Invalid:        {http.StatusBadRequest, 2, false},
	Unauthorized:   {http.StatusUnauthorized, 3, false},
	Denied:         {http.StatusForbidden, 3, false},
	NotFound:       {http.StatusNotFound, 4, false},
	Conflict:       {http.StatusConflict, 5, false},
	TooLarge:       {http.StatusRequestEntityTooLarge, 2, false},
	Throttled:      {http.StatusTooManyRequests, 6, true},
	Quota:          {http.StatusTooManyRequests, 6, true},
	Timeout:        {http.StatusGatewayTimeout, 7, true},
	Unavailable:    {http.StatusServiceUnavailable, 8, true},
	FunctionFailed: {http.StatusBadGateway, 9, true},
	Internal:       {http.StatusInternalServerError, 1, true},
}

// HTTPStatus is the status that answers a request which failed with c.
func (c Code) HTTPStatus() int {
	if e, ok := codes[c]; ok {
		return e.status
	}
	return http.StatusInternalServerError
}

// ExitStatus is the exit status of a CLI verb which failed with c.
func (c Code) ExitStatus() int {
	if e, ok := codes[c]; ok {
		return e.exit
	}
	return 1
}

// Retryable reports whether the same request may succeed later.
func (c Code) Retryable() bool { return codes[c].retry }

// Error is every error that crosses a package's border with a meaning for the
// caller. Message is for people and may be shown to them; Err is the cause,
// which is logged and never returned to a client.
type Error struct {
	Code    Code
	Op      string // what was attempted, "deploy app photos"
	Message string
	Err     error
}

// Errorf makes an Error with a message for people. A %w operand becomes its
// cause.
func Errorf(code Code, op, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Code: code, Op: op, Message: wrapped.Error(), Err: errors.Unwrap(wrapped)}
}

func (e *Error) Error() string {
	msg := e.Message
	if msg == "" && e.Err != nil {
		msg = e.Err.Error()
	}
	if msg == "" {
		msg = string(e.Code)
	}
	if e.Op == "" {
		return msg
	}
	return e.Op + ": " + msg
}

func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of the first Error or FunctionError in err's chain, ""
// for nil and Internal for any other error.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	var f *FunctionError
	if errors.As(err, &f) {
		return FunctionFailed
	}
	return Internal
}

// MessageOf is what a client may read of err: the message of the first Error
// in its chain, and nothing of an error without one.
func MessageOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Error()
	}
	var f *FunctionError
	if errors.As(err, &f) {
		return f.Error()
	}
	return "internal error"
}

// FunctionError is a failure of the user's code: what its handler threw, or how
// its process ended. Its JSON is the error body of Lambda's Invoke.
type FunctionError struct {
	Type    string   `json:"errorType"`
	Message string   `json:"errorMessage"`
	Trace   []string `json:"stackTrace,omitempty"`
}

// Error types the platform itself gives to failures of user code, in the form
// that Lambda's users know.
const (
	ErrorTypeExit        = "Runtime.ExitError"
	ErrorTypeTimeout     = "Sandbox.Timedout"
	ErrorTypeOutOfMemory = "Runtime.OutOfMemory"
	ErrorTypeImport      = "Runtime.ImportModuleError"
	ErrorTypeHandler     = "Runtime.HandlerNotFound"
	ErrorTypeSyntax      = "Runtime.UserCodeSyntaxError"
	ErrorTypeMarshal     = "Runtime.MarshalError"
)

func (e *FunctionError) Error() string {
	if e.Message == "" {
		return e.Type
	}
	return e.Type + ": " + e.Message
}

// Body is e as the body of a failed call. It has all three members, since
// readers expect them; a process that exited has no trace.
func (e *FunctionError) Body() []byte {
	shown := *e
	if shown.Trace == nil {
		shown.Trace = []string{}
	}
	b, _ := json.Marshal(struct {
		Type    string   `json:"errorType"`
		Message string   `json:"errorMessage"`
		Trace   []string `json:"stackTrace"`
	}(shown))
	return b
}

// Problem is the body of every error that the platform answers, RFC 9457 with
// the code as a member of its own, and what a function's failure was where that
// may be shown.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   Code   `json:"code"`
	*FunctionError
}

// ProblemOf describes err to a client. detailed shows what failed in the user's
// code, which a stranger should not read.
func ProblemOf(err error, detailed bool) Problem {
	code := CodeOf(err)
	p := Problem{Type: "about:blank", Status: code.HTTPStatus(), Detail: MessageOf(err), Code: code}
	var f *FunctionError
	if errors.As(err, &f) {
		switch {
		case f.Type == ErrorTypeTimeout:
			p.Code, p.Status, p.Detail = Timeout, Timeout.HTTPStatus(), f.Message
		case detailed:
			p.FunctionError = f
		default:
			p.Detail = "the function failed; its logs say why"
		}
	}
	p.Title = http.StatusText(p.Status)
	return p
}

func (p Problem) Error() string { return p.Detail }
