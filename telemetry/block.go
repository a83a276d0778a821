package telemetry

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
)

// A block is a header, three compressed sections and a filter:
//
//	header   magic, row count, first and last time, the sections' lengths, CRC-32C
//	columns  the block's sources, then time, source, flags, num, both ids and
//	         the body's length, each as a column of varints
//	ids      the distinct ids; UUIDs and trace ids take 16 bytes
//	bodies   all bodies, one after the other
//	filter   a blocked Bloom filter over the ids, not compressed, so that one
//	         line of 64 bytes can be read alone
const (
	blockMagic  = 0x3142464d // "MFB1"
	headerBytes = 4 + 4 + 8 + 8 + 4*4 + 4*3 + 4

	blockRows  = 8192    // most rows of a block
	blockBytes = 1 << 20 // about where a block's bodies are full
	maxSection = 1 << 28 // larger is damage
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errBlock   = errors.New("telemetry: a block is damaged")
)

// block says where a block is and what it can hold.
type block struct {
	offset      int64
	first, last int64 // times of rows
	rows        int
	size        [4]uint32 // of the sections as stored: columns, ids, bodies, filter
	raw         [3]uint32 // of the first three, decompressed
}

func (b *block) bytes() int64 {
	return headerBytes + int64(b.size[0]) + int64(b.size[1]) + int64(b.size[2]) + int64(b.size[3])
}

// section is the place of section i in the file.
func (b *block) section(i int) int64 {
	at := b.offset + headerBytes
	for _, n := range b.size[:i] {
		at += int64(n)
	}
	return at
}

// compressor is made at first use: an idle store holds none of its memory.
var compressor = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<18))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
})

var decompressor = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxSection))
	if err != nil {
		panic(err)
	}
	return d
})

// blockWriter makes blocks. It is used by one goroutine at a time and keeps its
// buffers.
type blockWriter[T any] struct {
	codec   codec[T]
	sources map[sourceKey]uint64
	ids     map[string]uint64
	idList  []string
	srcList []sourceKey
	columns [7][]byte
	meta    []byte
	idBytes []byte
	bodies  []byte
	out     []byte
}

type sourceKey struct {
	app, function string
	version       int
}

// write makes the block of as many of rows as fit, at least one, and returns it
// and their number. The bytes are the caller's until the next write.
func (w *blockWriter[T]) write(rows []T) ([]byte, block, int) {
	w.reset()
	b := block{first: math.MaxInt64, last: math.MinInt64}
	var before int64
	for i := range rows {
		if b.rows == blockRows || len(w.bodies) >= blockBytes {
			break
		}
		k := w.codec.key(&rows[i])
		b.first, b.last = min(b.first, k.time), max(b.last, k.time)
		from := len(w.bodies)
		w.bodies = w.codec.encode(w.bodies, &rows[i])
		for c, v := range [7]uint64{
			zigzag(k.time - before), w.source(&k), uint64(k.flags), zigzag(k.num), w.id(k.ids[0]), w.id(k.ids[1]), uint64(len(w.bodies) - from),
		} {
			w.columns[c] = binary.AppendUvarint(w.columns[c], v)
		}
		before = k.time
		b.rows++
	}
	w.sections()
	w.assemble(&b)
	return w.out, b, b.rows
}

func (w *blockWriter[T]) reset() {
	if w.sources == nil {
		w.sources, w.ids = map[sourceKey]uint64{}, map[string]uint64{}
	}
	clear(w.sources)
	clear(w.ids)
	clear(w.idList)
	w.idList, w.srcList = w.idList[:0], w.srcList[:0]
	for c := range w.columns {
		w.columns[c] = w.columns[c][:0]
	}
	w.meta, w.idBytes, w.bodies, w.out = w.meta[:0], w.idBytes[:0], w.bodies[:0], w.out[:0]
}

func (w *blockWriter[T]) source(k *rowKey) uint64 {
	key := sourceKey{k.app, k.function, k.version}
	i, ok := w.sources[key]
	if !ok {
		i = uint64(len(w.srcList))
		w.sources[key] = i
		w.srcList = append(w.srcList, key)
	}
	return i
}

// id is the place of an id in the block's list, from 1 on; 0 is none.
func (w *blockWriter[T]) id(id string) uint64 {
	if id == "" {
		return 0
	}
	i, ok := w.ids[id]
	if !ok {
		w.idList = append(w.idList, id)
		i = uint64(len(w.idList))
		w.ids[id] = i
	}
	return i
}

func (w *blockWriter[T]) sections() {
	w.meta = binary.AppendUvarint(w.meta, uint64(len(w.srcList)))
	for _, s := range w.srcList {
		w.meta = binary.AppendVarint(putString(putString(w.meta, s.app), s.function), int64(s.version))
	}
	for _, c := range w.columns {
		w.meta = binary.AppendUvarint(w.meta, uint64(len(c)))
		w.meta = append(w.meta, c...)
	}
	w.idBytes = binary.AppendUvarint(w.idBytes, uint64(len(w.idList)))
	for _, id := range w.idList {
		w.idBytes = putID(w.idBytes, id)
	}
}

func (w *blockWriter[T]) assemble(b *block) {
	z := compressor()
	w.out = append(w.out, make([]byte, headerBytes)...)
	for i, raw := range [][]byte{w.meta, w.idBytes, w.bodies} {
		from := len(w.out)
		w.out = z.EncodeAll(raw, w.out)
		b.size[i], b.raw[i] = uint32(len(w.out)-from), uint32(len(raw))
	}
	from := len(w.out)
	w.out = appendBloom(w.out, w.idList)
	b.size[3] = uint32(len(w.out) - from)
	b.putHeader(w.out)
}

func (b *block) putHeader(out []byte) {
	le := binary.LittleEndian
	h := le.AppendUint32(out[:0], blockMagic)
	h = le.AppendUint32(h, uint32(b.rows))
	h = le.AppendUint64(h, uint64(b.first))
	h = le.AppendUint64(h, uint64(b.last))
	for _, n := range b.size {
		h = le.AppendUint32(h, n)
	}
	for _, n := range b.raw {
		h = le.AppendUint32(h, n)
	}
	le.AppendUint32(h, checksum(out))
}

// checksum covers a whole block but for the sum itself.
func checksum(b []byte) uint32 {
	sum := crc32.Update(0, castagnoli, b[:headerBytes-4])
	return crc32.Update(sum, castagnoli, b[headerBytes:])
}

// parseHeader reads the header of a block at offset.
func parseHeader(h []byte, offset int64) (block, error) {
	le := binary.LittleEndian
	if len(h) < headerBytes || le.Uint32(h) != blockMagic {
		return block{}, errBlock
	}
	b := block{offset: offset, rows: int(le.Uint32(h[4:])), first: int64(le.Uint64(h[8:])), last: int64(le.Uint64(h[16:]))}
	for i := range b.size {
		b.size[i] = le.Uint32(h[24+4*i:])
	}
	for i := range b.raw {
		b.raw[i] = le.Uint32(h[40+4*i:])
		if b.raw[i] > maxSection || b.size[i] > maxSection {
			return block{}, errBlock
		}
	}
	if b.rows == 0 || b.rows > blockRows || b.size[3] > maxSection {
		return block{}, errBlock
	}
	return b, nil
}

// blockReader reads blocks of one file. Its scratch memory serves one block
// after the other.
type blockReader struct {
	file    io.ReaderAt
	scratch []byte
}

// load reads section i into fresh memory.
func (r *blockReader) load(b *block, i int) ([]byte, error) {
	n := int(b.size[i])
	if cap(r.scratch) < n {
		r.scratch = make([]byte, n)
	}
	packed := r.scratch[:n]
	if _, err := r.file.ReadAt(packed, b.section(i)); err != nil {
		return nil, err
	}
	raw, err := decompressor().DecodeAll(packed, make([]byte, 0, b.raw[i]))
	if err != nil || len(raw) != int(b.raw[i]) {
		return nil, fmt.Errorf("%w: section %d at %d: %v", errBlock, i, b.offset, err)
	}
	return raw, nil
}

// mayHold asks the block's filter about an id.
func (r *blockReader) mayHold(b *block, id string) (bool, error) {
	if b.size[3] == 0 {
		return false, nil
	}
	h := xxhash.Sum64String(id)
	var line [bloomLine]byte
	if _, err := r.file.ReadAt(line[:], b.section(3)+bloomAt(h, int(b.size[3]))); err != nil {
		return false, err
	}
	return bloomHas(line[:], h), nil
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// How an id is written: as it is, as a UUID's 16 bytes, as 32 hex digits' 16.
const (
	idPlain = iota
	idUUID
	idHex
)

func putID(dst []byte, id string) []byte {
	var b [16]byte
	if len(id) == 32 && lowerHex(id) {
		if _, err := hex.Decode(b[:], []byte(id)); err == nil {
			return append(append(dst, idHex), b[:]...)
		}
	}
	if len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		digits := id[:8] + id[9:13] + id[14:18] + id[19:23] + id[24:]
		if lowerHex(digits) {
			if _, err := hex.Decode(b[:], []byte(digits)); err == nil {
				return append(append(dst, idUUID), b[:]...)
			}
		}
	}
	return putString(append(dst, idPlain), id)
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// id reads what putID wrote.
func (r *reader) id() string {
	if len(r.b) == 0 {
		r.err = errBody
		return ""
	}
	kind := r.b[0]
	r.b = r.b[1:]
	if kind == idPlain {
		return string(r.bytes())
	}
	if len(r.b) < 16 || kind > idHex {
		r.err, r.b = errBody, nil
		return ""
	}
	var h [36]byte
	hex.Encode(h[:32], r.b[:16])
	r.b = r.b[16:]
	if kind == idHex {
		return string(h[:32])
	}
	s := h[:32]
	return string(s[:8]) + "-" + string(s[8:12]) + "-" + string(s[12:16]) + "-" + string(s[16:20]) + "-" + string(s[20:])
}
