package telemetry

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// columns is the first section of a block, taken apart as far as it was asked.
type columns struct {
	sources []sourceKey
	col     [7][]byte
}

func parseColumns(raw []byte) (columns, error) {
	var c columns
	r := reader{b: raw}
	n := r.count()
	c.sources = make([]sourceKey, 0, n)
	for range n {
		c.sources = append(c.sources, sourceKey{strings.Clone(r.string()), strings.Clone(r.string()), int(r.int())})
	}
	for i := range c.col {
		c.col[i] = r.bytes()
	}
	return c, r.err
}

// cursor walks the rows of a block's columns.
type cursor struct {
	columns
	at   [7]int // where each column goes on
	time int64
	bad  bool
}

// row is one row as the columns have it: ids are places in the block's list.
type row struct {
	time   int64
	source int
	flags  uint16
	num    int64
	ids    [2]int
	length int
}

func (c *cursor) next() (r row, ok bool) {
	c.time += unzigzag(c.uvarint(0))
	r = row{
		time: c.time, source: int(c.uvarint(1)), flags: uint16(c.uvarint(2)), num: unzigzag(c.uvarint(3)),
		ids: [2]int{int(c.uvarint(4)), int(c.uvarint(5))}, length: int(c.uvarint(6)),
	}
	if r.source < 0 || r.source >= len(c.sources) || r.length < 0 {
		c.bad = true
	}
	return r, !c.bad
}

func (c *cursor) uvarint(i int) uint64 {
	col, at := c.col[i], c.at[i]
	if at < len(col) && col[at] < 0x80 { // most values are small
		c.at[i]++
		return uint64(col[at])
	}
	v, n := binary.Uvarint(col[min(at, len(col)):])
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.at[i] += n
	return v
}

// idList is a block's second section.
type idList struct {
	ids []string
}

func parseIDs(raw []byte) (idList, error) {
	r := reader{b: raw}
	n := r.count()
	l := idList{ids: make([]string, 0, n)}
	for range n {
		l.ids = append(l.ids, r.id())
	}
	return l, r.err
}

func (l *idList) at(i int) string {
	if i <= 0 || i > len(l.ids) {
		return ""
	}
	return l.ids[i-1]
}

// place is where the list has id, -1 where it does not.
func (l *idList) place(id string) int {
	for i, v := range l.ids {
		if v == id {
			return i + 1
		}
	}
	return -1
}

// blockScan is one pass over one block.
type blockScan[T any] struct {
	codec codec[T]
	f     *filter[T]
	r     *blockReader
	b     *block
	want  [2]int // places of the ids that are asked for; 0: any
	ids   idList
}

// run gives the rows that match to add. Sections are read only when a row needs
// them.
func (s *blockScan[T]) run(add func(time int64, row T)) error {
	if ok, err := s.filtered(); !ok || err != nil {
		return err
	}
	raw, err := s.r.load(s.b, 0)
	if err != nil {
		return err
	}
	cols, err := parseColumns(raw)
	if err != nil {
		return err
	}
	sources := s.wanted(cols.sources)
	if sources == nil {
		return nil
	}
	var bodies []byte
	if len(s.f.contains) > 0 { // most blocks of a search end here
		if bodies, err = s.r.load(s.b, 2); err != nil || !s.f.bodyMatches(bodies) {
			return err
		}
	}
	hits, err := s.candidates(&cursor{columns: cols}, sources)
	if err != nil || len(hits) == 0 {
		return err
	}
	if bodies == nil {
		if bodies, err = s.r.load(s.b, 2); err != nil {
			return err
		}
	}
	return s.rows(cols.sources, bodies, hits, add)
}

// filtered reports false where the block cannot hold a row with the ids.
func (s *blockScan[T]) filtered() (bool, error) {
	for _, id := range s.f.ids {
		if id == "" {
			continue
		}
		if ok, err := s.r.mayHold(s.b, id); !ok || err != nil {
			return false, err
		}
	}
	if s.f.ids == [2]string{} {
		return true, nil
	}
	if err := s.loadIDs(); err != nil {
		return false, err
	}
	for i, id := range s.f.ids {
		if id == "" {
			continue
		}
		if s.want[i] = s.ids.place(id); s.want[i] < 0 {
			return false, nil
		}
	}
	return true, nil
}

func (s *blockScan[T]) loadIDs() error {
	if s.ids.ids != nil {
		return nil
	}
	raw, err := s.r.load(s.b, 1)
	if err != nil {
		return err
	}
	s.ids, err = parseIDs(raw)
	return err
}

// wanted says of each source whether its rows can match; nil where none can.
func (s *blockScan[T]) wanted(sources []sourceKey) []bool {
	out, some := make([]bool, len(sources)), false
	for i, k := range sources {
		out[i] = (s.f.app == "" || k.app == s.f.app) && (s.f.function == "" || k.function == s.f.function) && (s.f.version == 0 || k.version == s.f.version)
		some = some || out[i]
	}
	if !some {
		return nil
	}
	return out
}

// hit is a row whose key matches, and where its body is.
type hit struct {
	row
	from int
}

func (s *blockScan[T]) candidates(c *cursor, sources []bool) ([]hit, error) {
	var hits []hit
	from := 0
	for range s.b.rows {
		r, ok := c.next()
		if !ok || r.length > int(s.b.raw[2]) {
			return nil, errBlock
		}
		at := from
		from += r.length
		if !sources[r.source] || r.time < s.f.since || s.f.until != 0 && r.time >= s.f.until ||
			s.want[0] > 0 && r.ids[0] != s.want[0] || s.want[1] > 0 && r.ids[1] != s.want[1] {
			continue
		}
		if s.f.key != nil && !s.f.key(&rowKey{time: r.time, flags: r.flags, num: r.num}) {
			continue
		}
		hits = append(hits, hit{r, at})
	}
	if from != int(s.b.raw[2]) {
		return nil, errBlock
	}
	return hits, nil
}

// order puts the rows first that are wanted most, so that a scan can stop.
func (s *blockScan[T]) order(hits []hit) {
	if s.f.limit <= 0 || len(hits) <= s.f.limit {
		return
	}
	slices.SortStableFunc(hits, func(a, b hit) int {
		if s.f.oldest {
			return cmp.Compare(a.time, b.time)
		}
		return cmp.Compare(b.time, a.time)
	})
}

// rows decodes the rows of hits whose bodies match.
func (s *blockScan[T]) rows(sources []sourceKey, bodies []byte, hits []hit, add func(int64, T)) error {
	s.order(hits)
	left := s.f.limit // 0 never comes back to 0
	for _, h := range hits {
		body := bodies[h.from : h.from+h.length : h.from+h.length]
		if !s.f.bodyMatches(s.codec.searched(body)) {
			continue
		}
		if err := s.loadIDs(); err != nil {
			return err
		}
		src := sources[h.source]
		k := rowKey{time: h.time, app: src.app, function: src.function, version: src.version, ids: [2]string{s.ids.at(h.ids[0]), s.ids.at(h.ids[1])}, flags: h.flags, num: h.num}
		row, err := s.codec.decode(k, bytes.Clone(body)) // a row must not hold a whole block
		if err != nil {
			return err
		}
		if s.f.match != nil && !s.f.match(&row) {
			continue
		}
		add(h.time, row)
		if left--; left == 0 {
			return nil
		}
	}
	return nil
}
