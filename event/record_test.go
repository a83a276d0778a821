package event

import (
	"bytes"
	"testing"
	"time"
)

type collected struct {
	puts  []*Item
	fails []*failure
	dones []uint64
	seens []*seen
}

func (c *collected) seen(s *seen) { c.seens = append(c.seens, s) }

func (c *collected) put(it *Item)    { c.puts = append(c.puts, it) }
func (c *collected) fail(f *failure) { c.fails = append(c.fails, f) }
func (c *collected) done(num uint64) { c.dones = append(c.dones, num) }

func sampleRecord() []byte {
	b := &batch{
		items: []*Item{
			{num: 1, salt: 7, lane: "a", Body: []byte("{}"), Created: time.UnixMilli(1)},
			{num: 2, lane: "b", Key: "k", Dedup: "d", until: 99, At: time.UnixMilli(5), tries: 2, history: []Attempt{{Error: "no"}}},
		},
		fails: []*failure{{num: 1, at: 8, tries: 3, last: Attempt{Error: "why"}}},
		done:  []uint64{2, 1 << 40},
		seen:  []*seen{{lane: "l", dedup: "d", first: first{id: "id", until: 7}}},
	}
	return b.encode()
}

func TestRecord(t *testing.T) {
	var c collected
	if err := decode(sampleRecord(), map[string]string{}, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.puts) != 2 || c.puts[1].Key != "k" || c.puts[1].history[0].Error != "no" || c.puts[0].salt != 7 || string(c.puts[0].Body) != "{}" {
		t.Errorf("puts: %+v", c.puts)
	}
	if len(c.fails) != 1 || c.fails[0].tries != 3 || c.fails[0].last.Error != "why" {
		t.Errorf("fails: %+v", c.fails)
	}
	if len(c.seens) != 1 || *c.seens[0] != (seen{"l", "d", first{id: "id", until: 7}}) {
		t.Errorf("seen: %+v", c.seens)
	}
	if len(c.dones) != 2 || c.dones[1] != 1<<40 {
		t.Errorf("done: %v", c.dones)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(sampleRecord())
	f.Add([]byte{1, 'D', 0xff, 0xff, 0xff, 0xff, 0x0f, 1})
	f.Add([]byte{1, 'P'})
	f.Fuzz(func(t *testing.T, record []byte) {
		var c collected
		if err := decode(bytes.Clone(record), map[string]string{}, &c); err == nil && len(record) > 1 && len(c.puts)+len(c.fails)+len(c.dones)+len(c.seens) == 0 {
			if record[1] != 'D' {
				t.Errorf("nothing is read from %q", record)
			}
		}
	})
}

func TestItemID(t *testing.T) {
	for _, num := range []uint64{0, 1, 1<<48 - 1} {
		for shard := range 16 {
			id := itemID(shard, num, newSalt())
			gotShard, gotNum, ok := parseID(id)
			if !ok || gotShard != shard || gotNum != num || id[14] != '8' {
				t.Errorf("%s is shard %d number %d, not %d %d", id, gotShard, gotNum, shard, num)
			}
		}
	}
}

func TestTable(t *testing.T) {
	var tab table
	tab.add(newPage(1, []uint64{1, 2, 3}, 30), false)
	tab.add(newPage(2, []uint64{4, 5}, 20), false)
	tab.add(newPage(5, []uint64{8, 9}, 20), false)
	for _, num := range []uint64{0, 6, 7, 10} {
		if tab.has(num) {
			t.Errorf("has %d", num)
		}
	}
	if got := tab.cut(6, 0); got != 1 {
		t.Errorf("cut at %d", got)
	}
	for _, num := range []uint64{1, 2, 5} {
		tab.finish(num)
	}
	if tab.finish(2) != nil || tab.live != 4 {
		t.Error("finished twice")
	}
	tab.finish(3)
	if got := tab.cut(6, 0); got != 2 {
		t.Errorf("cut at %d", got)
	}
	if got := tab.oldest(2); len(got) != 2 || got[0] != 4 || got[1] != 8 {
		t.Errorf("oldest %v", got)
	}
	tab.finish(4) // moved to record 7, with 8
	tab.finish(8)
	tab.add(newPage(7, []uint64{4, 8}, 20), true)
	if !tab.has(4) || !tab.has(8) || !tab.has(9) || tab.live != 3 {
		t.Error("moved numbers are lost")
	}
	if got := tab.cut(8, 0); got != 5 {
		t.Errorf("cut at %d", got)
	}
	for _, num := range []uint64{4, 8, 9} {
		tab.finish(num)
	}
	if got := tab.cut(8, 0); got != 8 || tab.live != 0 {
		t.Errorf("cut at %d with %d", got, tab.live)
	}
}

func TestDeque(t *testing.T) {
	var d deque
	var in, out uint64
	for round := range 1000 {
		for range round % 7 {
			in++
			d.push(ref{num: in})
		}
		for range min(d.len(), round%5) {
			out++
			if got := d.pop().num; got != out {
				t.Fatalf("popped %d, not %d", got, out)
			}
		}
	}
	if d.len() != int(in-out) || d.all()[0].num != out+1 {
		t.Error("length")
	}
}
