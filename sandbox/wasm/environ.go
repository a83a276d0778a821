package wasm

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"
)

// block is an environment as environ_get writes it: texts that end with a zero
// byte, and where each begins.
type block struct {
	text    []byte
	offsets []uint32
}

// reset makes b the same as other, in its own storage.
func (b *block) reset(other *block) {
	b.text = append(b.text[:0], other.text...)
	b.offsets = append(b.offsets[:0], other.offsets...)
}

// add adds a variable. A value with a zero byte cannot be told: it is left out.
func (b *block) add(name, value string) {
	if strings.IndexByte(value, 0) < 0 {
		b.begin(name)
		b.text = append(append(b.text, value...), 0)
	}
}

// put is add of a value in parts.
func (b *block) put(name string, value ...[]byte) {
	b.begin(name)
	from := len(b.text)
	for _, v := range value {
		b.text = append(b.text, v...)
	}
	b.end(from)
}

// named is add of a variable that is named for a header, or a parameter.
func (b *block) named(prefix string, name, value []byte) {
	b.offsets = append(b.offsets, uint32(len(b.text)))
	b.text = append(b.text, prefix...)
	for _, c := range name {
		b.text = append(b.text, variable(c))
	}
	b.text = append(b.text, '=')
	from := len(b.text)
	b.text = append(b.text, value...)
	b.end(from)
}

func (b *block) begin(name string) {
	b.offsets = append(b.offsets, uint32(len(b.text)))
	b.text = append(append(b.text, name...), '=')
}

// end ends the variable whose value begins at from.
func (b *block) end(from int) {
	if bytes.IndexByte(b.text[from:], 0) >= 0 {
		last := len(b.offsets) - 1
		b.text, b.offsets = b.text[:b.offsets[last]], b.offsets[:last]
		return
	}
	b.text = append(b.text, 0)
}

// variable is a byte of a header's name as CGI has it.
func variable(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z':
		return c - 'a' + 'A'
	case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return c
	}
	return '_'
}

// variables are of every call, the function's; a call's own win over those that
// have their names.
type variables struct {
	fixed     block    // that no call's can have the name of
	contested []string // "NAME=value"
}

// callNames are of all calls, wagiNames of those by HTTP.
var (
	callNames = []string{"MAYFLY_REQUEST_ID", "_X_AMZN_TRACE_ID", "MAYFLY_DEADLINE_MS", "MAYFLY_FUNCTION_ARN", "MAYFLY_TRIGGER", "MAYFLY_ATTEMPT", "TRACEPARENT"}
	wagiNames = []string{
		"GATEWAY_INTERFACE", "SERVER_SOFTWARE", "SCRIPT_NAME", "SERVER_PROTOCOL", "SERVER_NAME", "SERVER_PORT", "REQUEST_METHOD", "PATH_INFO",
		"X_RAW_PATH_INFO", "QUERY_STRING", "X_MATCHED_ROUTE", "X_FULL_URL", "REMOTE_ADDR", "REMOTE_HOST", "REMOTE_USER", "AUTH_TYPE", "CONTENT_LENGTH", "CONTENT_TYPE",
	}
)

// newVariables sorts an environment.
func newVariables(env map[string]string) (v variables) {
	names := make([]string, 0, len(env))
	for name := range env {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if slices.Contains(callNames, name) || slices.Contains(wagiNames, name) || strings.HasPrefix(name, "HTTP_") || strings.HasPrefix(name, "X_PARAM_") {
			v.contested = append(v.contested, name+"="+env[name])
			continue
		}
		v.fixed.add(name, env[name])
	}
	return v
}

// settle adds the contested variables to a call's that lack them.
func (v *variables) settle(b *block) {
	for _, e := range v.contested {
		name, value, _ := strings.Cut(e, "=")
		if !b.has(name) {
			b.add(name, value)
		}
	}
}

func (b *block) has(name string) bool {
	for _, from := range b.offsets {
		if rest, ok := bytes.CutPrefix(b.text[from:], []byte(name)); ok && rest[0] == '=' {
			return true
		}
	}
	return false
}

// call adds a call's own variables, from the fields of its frame: request id,
// X-Ray trace, deadline, ARN, trigger, attempt, traceparent.
func (b *block) call(head []byte) {
	for _, name := range callNames {
		var value []byte
		if value, head, _ = bytes.Cut(head, []byte{'\n'}); len(value) > 0 {
			b.put(name, value)
		}
	}
}

// environGet and environSizesGet are wasip1's, of the current guest.
func (w *worker) environGet(_ context.Context, m api.Module, stack []uint64) {
	at, text := uint32(stack[0]), uint32(stack[1])
	const fault = 21 // EFAULT
	stack[0] = fault
	if !m.Memory().Write(text, w.env.text) {
		return
	}
	for _, offset := range w.env.offsets {
		if !m.Memory().WriteUint32Le(at, text+offset) {
			return
		}
		at += 4
	}
	stack[0] = 0
}

func (w *worker) environSizesGet(_ context.Context, m api.Module, stack []uint64) {
	ok := m.Memory().WriteUint32Le(uint32(stack[0]), uint32(len(w.env.offsets))) &&
		m.Memory().WriteUint32Le(uint32(stack[1]), uint32(len(w.env.text)))
	stack[0] = 0
	if !ok {
		stack[0] = 21 // EFAULT
	}
}
