package event

import (
	"encoding/binary"
	"encoding/json"
	"errors"
)

// A record is the byte 1 and then entries, each a kind and its fields. Numbers
// are unsigned varints, texts and bodies have their length before them.
const (
	recordVersion = 1

	entryPut  = 'P' // num, salt, lane, key, dedup, until, created, at, tries, history, body
	entryFail = 'F' // num, at, tries, attempt
	entryDone = 'D' // count, nums
	entrySeen = 'S' // lane, dedup, id, until
)

var errRecord = errors.New("a record of the log is damaged")

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendPut(b []byte, it *Item) []byte {
	b = append(b, entryPut)
	b = binary.AppendUvarint(b, it.num)
	b = binary.BigEndian.AppendUint64(b, it.salt)
	b = appendText(b, it.lane)
	b = appendText(b, it.Key)
	b = appendText(b, it.Dedup)
	b = binary.AppendUvarint(b, uint64(it.until))
	b = binary.AppendUvarint(b, uint64(millis(it.Created)))
	b = binary.AppendUvarint(b, uint64(millis(it.At)))
	b = binary.AppendUvarint(b, uint64(it.tries))
	var history []byte
	if len(it.history) > 0 {
		history, _ = json.Marshal(it.history)
	}
	b = appendText(b, history)
	return appendText(b, it.Body)
}

// putSize is at least what appendPut adds.
func putSize(it *Item) int {
	return 100 + len(it.lane) + len(it.Key) + len(it.Dedup) + len(it.history)*(maxReason+200) + len(it.Body)
}

// failure is the state of an item that failed at least once.
type failure struct {
	num   uint64
	key   uint64 // its hash; not written
	at    int64
	tries int
	last  Attempt
}

func appendFail(b []byte, f *failure) []byte {
	b = append(b, entryFail)
	b = binary.AppendUvarint(b, f.num)
	b = binary.AppendUvarint(b, uint64(f.at))
	b = binary.AppendUvarint(b, uint64(f.tries))
	last, _ := json.Marshal(f.last)
	return appendText(b, last)
}

func appendDone(b []byte, nums []uint64) []byte {
	b = append(b, entryDone)
	b = binary.AppendUvarint(b, uint64(len(nums)))
	for _, n := range nums {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// seen is a deduplication id that still counts, with the item that had it.
type seen struct {
	lane, dedup string
	first
}

func appendSeen(b []byte, s *seen) []byte {
	b = append(b, entrySeen)
	b = appendText(b, s.lane)
	b = appendText(b, s.dedup)
	b = appendText(b, s.id)
	return binary.AppendUvarint(b, uint64(s.until))
}

// reader decodes the fields of a record. After an error all it returns is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.err = nil, errRecord
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.err = nil, errRecord
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) text() []byte { return r.take(r.uint()) }

func (r *reader) salt() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// visitor is told each entry of a record in order. A visited item's body
// aliases the record.
type visitor interface {
	put(it *Item)
	fail(f *failure)
	done(num uint64)
	seen(s *seen)
}

// decode tells v the entries of a record. names interns lanes.
func decode(record []byte, names map[string]string, v visitor) error {
	if len(record) == 0 || record[0] != recordVersion {
		return errRecord
	}
	r := &reader{b: record[1:]}
	for len(r.b) > 0 {
		kind := r.b[0]
		r.b = r.b[1:]
		switch kind {
		case entryPut:
			if it := r.item(names); r.err == nil {
				v.put(it)
			}
		case entryFail:
			f := &failure{num: r.uint(), at: int64(r.uint()), tries: int(r.uint())}
			_ = json.Unmarshal(r.text(), &f.last)
			if r.err == nil {
				v.fail(f)
			}
		case entryDone:
			for n := r.uint(); n > 0 && r.err == nil; n-- {
				if num := r.uint(); r.err == nil {
					v.done(num)
				}
			}
		case entrySeen:
			x := &seen{lane: string(r.text()), dedup: string(r.text())}
			x.id, x.until = string(r.text()), int64(r.uint())
			if r.err == nil {
				v.seen(x)
			}
		default:
			return errRecord
		}
	}
	return r.err
}

func (r *reader) item(names map[string]string) *Item {
	it := &Item{num: r.uint(), salt: r.salt()}
	lane := r.text()
	name, ok := names[string(lane)]
	if !ok {
		name = string(lane)
		names[name] = name
	}
	it.lane = name
	it.Key = string(r.text())
	it.Dedup = string(r.text())
	it.until = int64(r.uint())
	it.Created = fromMillis(int64(r.uint()))
	it.At = fromMillis(int64(r.uint()))
	it.tries = int(r.uint())
	if history := r.text(); len(history) > 0 {
		_ = json.Unmarshal(history, &it.history)
	}
	it.Body = r.text()
	return it
}
