// A function of the Lambda Runtime API that keeps a connection to its app's
// PostgreSQL database, by a driver that knows nothing of Mayfly. From Start to End
// of its event it runs a statement each second, and returns how long they took, in
// microseconds.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

type event struct{ Start, End time.Time }

type answer struct {
	Instance string
	Took     []int64
	Failed   int
	Why      string
}

func main() {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		r, err := http.Get(base + "next")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		var e event
		err = json.NewDecoder(r.Body).Decode(&e)
		_ = r.Body.Close()
		out := answer{Instance: os.Getenv("MAYFLY_INSTANCE")}
		if err == nil {
			err = out.run(context.Background(), e)
		}
		if err != nil {
			out.Failed, out.Why = out.Failed+1, err.Error()
		}
		body, _ := json.Marshal(out)
		reply, err := http.Post(base+r.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", "application/json", bytes.NewReader(body))
		if err == nil {
			_, _ = io.Copy(io.Discard, reply.Body)
			_ = reply.Body.Close()
		}
	}
}

var db *pgconn.PgConn

func (a *answer) run(ctx context.Context, e event) (err error) {
	if db == nil {
		if db, err = pgconn.Connect(ctx, os.Getenv("DATABASE_URL")); err != nil {
			return err
		}
	}
	time.Sleep(time.Until(e.Start))
	for {
		time.Sleep(time.Duration(rand.Float64() * 2 * float64(time.Second)))
		if time.Now().After(e.End) {
			return nil
		}
		began := time.Now()
		oid := strconv.Itoa(rand.IntN(20_000))
		if r := db.ExecParams(ctx, "SELECT count(*) FROM pg_class WHERE oid < $1", [][]byte{[]byte(oid)}, nil, nil, nil).Read(); r.Err != nil {
			a.Failed, a.Why = a.Failed+1, r.Err.Error()
			continue
		}
		a.Took = append(a.Took, time.Since(began).Microseconds())
	}
}
