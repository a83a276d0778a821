package wasm

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Sections of a module (WebAssembly specification, 5.5).
const (
	dataSection      = 11
	dataCountSection = 12
)

// mergeGap is the largest gap between two data segments that are merged.
const mergeGap = 1 << 10

// mergeData returns a module whose data segments that lie beside one another are
// one, with zeros between. Go's compiler makes thousands of segments, each of
// which wazero evaluates again for each instance: half of the time of a short
// call. A module that has anything uncommon in its data comes back as it is.
func mergeData(module []byte) []byte {
	if len(module) < 8 {
		return module
	}
	for rest := module[8:]; len(rest) > 0; {
		from := len(module) - len(rest)
		id := rest[0]
		size, n := binary.Uvarint(rest[1:])
		if n <= 0 || size > uint64(len(rest)-1-n) || id == dataCountSection { // by which code names segments
			return module
		}
		body := rest[1+n : 1+n+int(size)]
		rest = rest[1+n+int(size):]
		if id != dataSection {
			continue
		}
		merged := mergeSegments(body)
		if merged == nil {
			return module
		}
		out := make([]byte, 0, len(module)+len(merged)-len(body)+binary.MaxVarintLen64)
		out = binary.AppendUvarint(append(append(out, module[:from]...), dataSection), uint64(len(merged)))
		return append(append(out, merged...), rest...)
	}
	return module
}

// segment is an active data segment of the first memory.
type segment struct {
	at   int64
	data []byte
}

// mergeSegments is a data section's new body, nil where it stays as it is.
func mergeSegments(body []byte) []byte {
	count, n := binary.Uvarint(body)
	if n <= 0 || count < 2 {
		return nil
	}
	var all []segment
	rest := body[n:]
	for range count {
		s, after, ok := readSegment(rest)
		if !ok {
			return nil
		}
		all, rest = append(all, s), after
	}
	all = join(all)
	if len(rest) > 0 || len(all) == 0 || len(all) == int(count) {
		return nil
	}
	out := binary.AppendUvarint(nil, uint64(len(all)))
	for _, s := range all {
		out = append(appendSigned(append(out, 0, i32Const), int32(s.at)), end)
		out = append(binary.AppendUvarint(out, uint64(len(s.data))), s.data...)
	}
	return out
}

// join merges segments, in the order of their places, which it sorts them by. It
// returns none where two overlap: the later one wins then.
func join(all []segment) (joined []segment) {
	slices.SortStableFunc(all, func(a, b segment) int { return cmp.Compare(a.at, b.at) })
	for i, s := range all {
		if i == 0 {
			joined = append(joined, segment{s.at, bytes.Clone(s.data)})
			continue
		}
		last := &joined[len(joined)-1]
		switch gap := s.at - (last.at + int64(len(last.data))); {
		case gap < 0:
			return nil
		case gap <= mergeGap:
			last.data = append(append(last.data, make([]byte, gap)...), s.data...)
		default:
			joined = append(joined, segment{s.at, bytes.Clone(s.data)})
		}
	}
	return joined
}

// Instructions.
const (
	i32Const = 0x41
	end      = 0x0b
)

// readSegment reads one whose place is a constant.
func readSegment(b []byte) (s segment, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != 0 || b[1] != i32Const {
		return s, nil, false
	}
	at, n := signed(b[2:])
	if n == 0 || len(b) < 3+n || b[2+n] != end {
		return s, nil, false
	}
	b = b[3+n:]
	size, m := binary.Uvarint(b)
	if m <= 0 || size > uint64(len(b)-m) {
		return s, nil, false
	}
	return segment{int64(uint32(at)), b[m : m+int(size)]}, b[m+int(size):], true
}

// signed reads an i32 in LEB128, and returns its length, 0 where there is none.
func signed(b []byte) (value int32, n int) {
	for shift := 0; n < len(b) && shift < 35; shift += 7 {
		c := b[n]
		n++
		value |= int32(c&0x7f) << shift
		if c&0x80 != 0 {
			continue
		}
		if c&0x40 != 0 && shift+7 < 32 {
			value |= -1 << (shift + 7)
		}
		return value, n
	}
	return 0, 0
}

// appendSigned appends an i32 in LEB128.
func appendSigned(b []byte, v int32) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
