package kv

import (
	"encoding/binary"
	"errors"
	"time"
)

// opKind says what an operation in a record does.
type opKind byte

const (
	opPut    opKind = 1
	opDelete opKind = 2
	opExpire opKind = 3 // a delete because its time was up
	opMoved  opKind = 4 // a put that cleaning moved; never a change
	opCursor opKind = 5 // changes up to this revision are delivered
)

// operation is one entry of a record.
type operation struct {
	kind     opKind
	changed  bool // functions are told of it
	revision uint64
	expires  int64  // Unix milliseconds, 0: never
	store    string // "app/store"
	key      string
	mime     string
	value    []byte
	old      []byte // of a change: the value before
	oldMIME  string
	oldRev   uint64    // 0: there was none
	cause    string    // of a change: the traceparent of the write; "" where none is known
	hops     int       // of a change: functions that the cause went through
	time     time.Time // of the record; when it was committed
}

// Bits of an operation's first byte, beside its kind.
const (
	flagChanged = 0x80
	flagCaused  = 0x40 // a change that has a cause
	flagHops    = 0x20 // a change whose cause went through functions
)

// recordVersion begins every record.
const recordVersion = 1

var errRecord = errors.New("damaged record")

// appendOp adds the encoded operation to a record. Numbers are varints; texts
// and values have their length before them.
func appendOp(b []byte, op *operation) []byte {
	flags := byte(op.kind)
	if op.changed {
		flags |= flagChanged
		if op.cause != "" {
			flags |= flagCaused
		}
		if op.hops > 0 {
			flags |= flagHops
		}
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, op.revision)
	if op.kind == opCursor {
		return b
	}
	b = appendText(b, op.store)
	b = appendText(b, op.key)
	if op.kind == opPut || op.kind == opMoved {
		b = binary.AppendUvarint(b, uint64(op.expires))
		b = appendText(b, op.mime)
		b = appendText(b, op.value)
	}
	if op.changed {
		b = binary.AppendUvarint(b, op.oldRev)
		b = appendText(b, op.oldMIME)
		b = appendText(b, op.old)
		if op.cause != "" {
			b = appendText(b, op.cause)
		}
		if op.hops > 0 {
			b = binary.AppendUvarint(b, uint64(op.hops))
		}
	}
	return b
}

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// beginRecord is the head of a record that was made at now.
func beginRecord(now time.Time) []byte {
	return binary.AppendUvarint([]byte{recordVersion}, uint64(now.UnixMilli()))
}

// decodeRecord calls fn for each operation. Values are slices of the record.
func decodeRecord(record []byte, fn func(*operation) error) error {
	if len(record) == 0 || record[0] != recordVersion {
		return errRecord
	}
	r := reader{b: record[1:]}
	at := time.UnixMilli(int64(r.number()))
	for len(r.b) > 0 {
		op := r.operation()
		if r.failed {
			return errRecord
		}
		op.time = at
		if err := fn(&op); err != nil {
			return err
		}
	}
	if r.failed {
		return errRecord
	}
	return nil
}

// reader takes parts off the front of a record and remembers a failure.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) operation() (op operation) {
	flags := r.b[0]
	r.b = r.b[1:]
	op.kind, op.changed = opKind(flags&^(flagChanged|flagCaused|flagHops)), flags&flagChanged != 0
	if op.kind < opPut || op.kind > opCursor || flags&(flagCaused|flagHops) != 0 && !op.changed {
		r.failed = true
		return op
	}
	op.revision = r.number()
	if op.kind == opCursor {
		return op
	}
	op.store, op.key = string(r.bytes()), string(r.bytes())
	if op.kind == opPut || op.kind == opMoved {
		op.expires = int64(r.number())
		op.mime, op.value = string(r.bytes()), r.bytes()
	}
	if op.changed {
		op.oldRev = r.number()
		op.oldMIME, op.old = string(r.bytes()), r.bytes()
		if flags&flagCaused != 0 {
			op.cause = string(r.bytes())
		}
		if flags&flagHops != 0 {
			op.hops = int(r.number())
		}
	}
	return op
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	part := r.b[:n:n]
	r.b = r.b[n:]
	return part
}
