package sql

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service/servicetest"
)

func killApp() *mayfly.Manifest {
	m := app(map[string]string{"1.sql": "create table t (id text primary key)"})
	m.Functions["f"].On = []mayfly.Trigger{{Table: "main.t"}}
	return m
}

// TestKilledWriter kills a process that writes, several times, and finds every
// row that was acknowledged, and in the change log exactly the rows that are
// there.
func TestKilledWriter(t *testing.T) {
	var acknowledged []string
	dir := servicetest.Kill(t, 50, 250, writeForEver, func(line string) { acknowledged = append(acknowledged, line) }, nil)
	if len(acknowledged) < 100 {
		t.Fatalf("%d writes", len(acknowledged))
	}
	d := open(t, killApp(), func(c *Config) { c.Dir = dir })
	r, err := d.Query(admin, "a", "main", &Statement{SQL: "select id from t"})
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, row := range r.Rows {
		rows[row[0].(string)] = true
	}
	for _, id := range acknowledged {
		if !rows[id] {
			t.Errorf("%s was acknowledged and is not there", id)
		}
	}
	r, err = d.Query(admin, "a", "main", &Statement{SQL: "select after ->> 'id' from _mayfly_changes"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != len(rows) {
		t.Errorf("%d changes of %d rows", len(r.Rows), len(rows))
	}
	for _, row := range r.Rows {
		if !rows[row[0].(string)] {
			t.Errorf("a change tells of %v, which is not there", row[0])
		}
	}
}

// writeForEver inserts rows, by themselves and in transactions, and says each
// that was acknowledged.
func writeForEver(dir, round string) {
	d := New(Config{Dir: dir})
	servicetest.Must(d.Apply(context.Background(), []*mayfly.Manifest{killApp()}))
	db, err := d.must("a", "main")
	servicetest.Must(err)
	var said sync.Mutex
	for worker := range 3 {
		go func() {
			st := &stream{db: db, write: true, texts: map[int32]string{}}
			st.mu.Lock()
			run := func(text string) {
				_, err := st.execute(context.Background(), &Statement{SQL: text})
				servicetest.Must(err)
			}
			for i := 0; ; i += 3 {
				id := func(n int) string { return fmt.Sprintf("%s-%d-%d", round, worker, i+n) }
				insert := func(n int) { run("insert into t values ('" + id(n) + "')") }
				insert(0)
				said.Lock()
				fmt.Println(id(0))
				said.Unlock()
				run("begin")
				insert(1)
				insert(2)
				if i%2 == 0 {
					run("rollback")
					continue
				}
				run("commit")
				said.Lock()
				fmt.Println(id(1))
				fmt.Println(id(2))
				said.Unlock()
			}
		}()
	}
	select {}
}
