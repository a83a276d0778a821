package meter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// The journal is a ring of records in a mapped file. A record's number grows
// for ever; its place is the number modulo the ring's length, and the number,
// written last, says that the record there is whole.
//
// Invariants: tail ≤ head ≤ tail + journalRecords. Records in (tail, head] are
// not in the ledger, or, after a kill between the ledger's commit and the move
// of tail, are: the ledger's own position decides.
const (
	journalRecords = 1 << 15
	recordBytes    = 64
	journalBytes   = journalRecords * recordBytes
)

// entry is one call, or bytes that went out, as the journal holds it.
type entry struct {
	second   uint32
	key      uint32
	flags    uint32
	millis   uint32
	kib      uint32
	cpu      int64
	bytesIn  int64
	bytesOut int64
}

// Bits of an entry's flags.
const (
	entryCall   = 1 << 0 // else only bytes that went out
	entryFailed = 1 << 1
	entryCold   = 1 << 2
)

type journal struct {
	mem  []byte
	head atomic.Uint64 // the last number given out
	tail atomic.Uint64 // the last number that the ledger holds
}

// openJournal maps the ring in the file at path. after is the ledger's
// position; what is behind it is returned in the order of the numbers.
func openJournal(path string, after uint64) (*journal, []entry, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if info.Size() != 0 && info.Size() != journalBytes {
		return nil, nil, fmt.Errorf("%s has %d bytes, not %d: it is not a journal", path, info.Size(), journalBytes)
	}
	if info.Size() == 0 {
		// Written, not only sized: a mapped hole on a full disk kills the process.
		if _, err := f.WriteAt(make([]byte, journalBytes), 0); err != nil {
			return nil, nil, errors.Join(err, f.Truncate(0))
		}
	}
	mem, err := mapShared(f, journalBytes)
	if err != nil {
		return nil, nil, err
	}
	j := &journal{mem: mem}
	runtime.AddCleanup(j, unmap, mem) // not in Close: a late call must find memory
	var left []entry
	last := after
	for n := after + 1; n <= after+journalRecords; n++ {
		if e, ok := j.read(n); ok {
			left = append(left, e)
			last = n
		}
	}
	j.head.Store(last)
	j.tail.Store(after)
	return j, left, nil
}

// put writes an entry. It reports false where the ring is full.
func (j *journal) put(e *entry) bool {
	for {
		n := j.head.Load()
		if n-j.tail.Load() >= journalRecords {
			return false
		}
		if j.head.CompareAndSwap(n, n+1) {
			j.write(n+1, e)
			return true
		}
	}
}

func (j *journal) place(n uint64) []byte {
	at := (n % journalRecords) * recordBytes
	return j.mem[at : at+recordBytes : at+recordBytes]
}

// number is the word of a record that says which it is. The mapping begins at a
// page and records have 64 bytes, so that the word is aligned.
func number(record []byte) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&record[0])) }

func (j *journal) write(n uint64, e *entry) {
	r, le := j.place(n), binary.LittleEndian
	number(r).Store(0) // the record before is in the ledger
	le.PutUint32(r[8:], e.second)
	le.PutUint32(r[12:], e.key)
	le.PutUint32(r[16:], e.flags)
	le.PutUint32(r[20:], e.millis)
	le.PutUint32(r[24:], e.kib)
	le.PutUint64(r[32:], uint64(e.cpu))
	le.PutUint64(r[40:], uint64(e.bytesIn))
	le.PutUint64(r[48:], uint64(e.bytesOut))
	number(r).Store(n)
	runtime.KeepAlive(j)
}

func (j *journal) read(n uint64) (entry, bool) {
	r, le := j.place(n), binary.LittleEndian
	defer runtime.KeepAlive(j)
	if number(r).Load() != n {
		return entry{}, false
	}
	return entry{
		second: le.Uint32(r[8:]), key: le.Uint32(r[12:]), flags: le.Uint32(r[16:]), millis: le.Uint32(r[20:]), kib: le.Uint32(r[24:]),
		cpu: int64(le.Uint64(r[32:])), bytesIn: int64(le.Uint64(r[40:])), bytesOut: int64(le.Uint64(r[48:])),
	}, true
}

// pending calls use with each entry that the ledger lacks, and returns the
// number of the last. A record whose writer is between its number and its last
// word is waited for: that is a few instructions.
func (j *journal) pending(use func(*entry)) uint64 {
	n, head := j.tail.Load(), j.head.Load()
	for n < head {
		e, ok := j.read(n + 1)
		for !ok {
			runtime.Gosched()
			e, ok = j.read(n + 1)
		}
		use(&e)
		n++
	}
	return n
}
