package telemetry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A segment is a file of blocks, NUMBER.GENERATION.seg. The one with the
// highest number may be active: blocks are appended to it. The others are
// sealed: their blocks are followed by an index, so that opening reads that
// alone. Compaction replaces a segment by one of the next generation.
//
//	sealed: block … block  header … header (each with its offset)  trailer
const (
	segmentSuffix = ".seg"
	trailerMagic  = 0x5846424d // "MBFX"
	trailerBytes  = 4 + 4 + 4 + 4
	indexEntry    = 8 + headerBytes
)

type segment struct {
	path        string
	number      int
	generation  int
	size        int64
	first, last int64
	blocks      []block // only appended to
	sealed      bool
}

func segmentPath(dir string, number, generation int) string {
	return filepath.Join(dir, fmt.Sprintf("%08d.%d%s", number, generation, segmentSuffix))
}

func (s *segment) add(b block) {
	s.blocks = append(s.blocks, b)
	s.first, s.last = min(s.first, b.first), max(s.last, b.last)
	s.size += b.bytes()
}

func newSegment(dir string, number, generation int) *segment {
	return &segment{path: segmentPath(dir, number, generation), number: number, generation: generation, first: math.MaxInt64, last: math.MinInt64}
}

// openSegments reads what dir holds, in the order of the numbers. Of a segment
// in two generations the older goes: the newer was complete before it had its
// name.
func openSegments(dir string) ([]*segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	byNumber := map[int]*segment{}
	for _, e := range entries {
		number, generation, ok := parseSegmentName(e.Name())
		if !ok {
			if strings.HasSuffix(e.Name(), ".tmp") {
				os.Remove(filepath.Join(dir, e.Name()))
			}
			continue
		}
		s := newSegment(dir, number, generation)
		if other := byNumber[number]; other != nil {
			older := s
			if other.generation < generation {
				older = other
			} else {
				s = other
			}
			os.Remove(older.path)
		}
		byNumber[number] = s
	}
	segments := make([]*segment, 0, len(byNumber))
	for _, s := range byNumber {
		segments = append(segments, s)
	}
	slices.SortFunc(segments, func(a, b *segment) int { return a.number - b.number })
	for _, s := range segments {
		if err := s.open(); err != nil {
			return nil, fmt.Errorf("%s: %w", s.path, err)
		}
	}
	return segments, nil
}

func parseSegmentName(name string) (number, generation int, ok bool) {
	base, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, 0, false
	}
	n, g, ok := strings.Cut(base, ".")
	number, err1 := strconv.Atoi(n)
	generation, err2 := strconv.Atoi(g)
	return number, generation, ok && err1 == nil && err2 == nil && number > 0
}

// open reads the segment's index, or, where it has none, finds the blocks and
// cuts off what a killed process left half written.
func (s *segment) open() error {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if s.readIndex(f, info.Size()) {
		s.sealed, s.size = true, info.Size()
		return nil
	}
	s.recover(f, info.Size())
	if s.size < info.Size() {
		return f.Truncate(s.size)
	}
	return nil
}

func (s *segment) readIndex(f io.ReaderAt, size int64) bool {
	le := binary.LittleEndian
	var t [trailerBytes]byte
	if size < trailerBytes {
		return false
	}
	if _, err := f.ReadAt(t[:], size-trailerBytes); err != nil || le.Uint32(t[12:]) != trailerMagic {
		return false
	}
	n, length := int(le.Uint32(t[0:])), int64(le.Uint32(t[4:]))
	if length != int64(n)*indexEntry || length > size-trailerBytes {
		return false
	}
	index := make([]byte, length)
	if _, err := f.ReadAt(index, size-trailerBytes-length); err != nil || crc32.Checksum(index, castagnoli) != le.Uint32(t[8:]) {
		return false
	}
	for ; len(index) > 0; index = index[indexEntry:] {
		b, err := parseHeader(index[8:indexEntry], int64(le.Uint64(index)))
		if err != nil {
			return false
		}
		s.add(b)
	}
	return true
}

// recover finds the blocks of a segment without an index, up to the first that
// is not whole.
func (s *segment) recover(f io.ReaderAt, size int64) {
	var buf []byte
	for s.size+headerBytes <= size {
		var h [headerBytes]byte
		if _, err := f.ReadAt(h[:], s.size); err != nil {
			return
		}
		b, err := parseHeader(h[:], s.size)
		if err != nil || s.size+b.bytes() > size {
			return
		}
		if n := int(b.bytes()); cap(buf) < n {
			buf = make([]byte, n)
		}
		whole := buf[:b.bytes()]
		if _, err := f.ReadAt(whole, s.size); err != nil || checksum(whole) != binary.LittleEndian.Uint32(whole[headerBytes-4:]) {
			return
		}
		s.add(b)
	}
}

// seal ends a segment: it appends the index and syncs the file.
func (s *segment) seal(f *os.File) error {
	le := binary.LittleEndian
	index := make([]byte, 0, len(s.blocks)*indexEntry+trailerBytes)
	for i := range s.blocks {
		b := &s.blocks[i]
		index = le.AppendUint64(index, uint64(b.offset))
		var h [headerBytes]byte
		b.putHeader(h[:])
		index = append(index, h[:]...)
	}
	sum, n := crc32.Checksum(index, castagnoli), len(index)
	index = le.AppendUint32(index, uint32(len(s.blocks)))
	index = le.AppendUint32(index, uint32(n))
	index = le.AppendUint32(index, sum)
	index = le.AppendUint32(index, trailerMagic)
	if _, err := f.WriteAt(index, s.size); err != nil {
		return err
	}
	s.size += int64(len(index))
	s.sealed = true
	return f.Sync()
}

// removeSegment deletes a segment's file. Scans that hold it open finish.
func removeSegment(s *segment) error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
