package daemon

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/service/bucket"
	"github.com/mayfly-cloud/mayfly/service/sql"
)

// copyBucket is where copies of an app's databases find its bucket: this node's
// S3 port, as the administrator.
func (n *Node) copyBucket(app mayfly.AppName, name string) sql.Bucket {
	key := n.buckets.Admin()
	return sql.Bucket{Endpoint: url(n.listen.s3), Region: bucket.Region, Name: string(app) + "." + name, KeyID: key.Access, Secret: key.Secret}
}

// wireDoor is where every function reaches its PostgreSQL databases; "" where
// sandboxes have no loopback of their own, and each has another port.
func (n *Node) wireDoor() string {
	if n.launcher.Tier().Name == sandbox.TierPlain {
		return ""
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(sql.DoorPort))
}

// wireInside speaks PostgreSQL's protocol with a function.
func (n *Node) wireInside(who mayfly.Caller) http.Handler {
	next := n.parts.databases.Socket(nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(mayfly.WithCaller(r.Context(), who)))
	})
}

// wireOutside speaks it with callers from outside, whose password is a token: clients
// of WebSockets cannot send headers everywhere.
func (n *Node) wireOutside() http.Handler { return n.parts.databases.Socket(n.tokens.Verify) }

// databaseGauges are how databases fare: their connections, and the changes that
// are followed.
func (n *Node) databaseGauges(databases *sql.Driver) {
	gauge := func(name, help string, counter bool, value func(d *sql.Described) (float64, bool)) {
		n.metrics.Collect(name, help, counter, []string{"app", "database"}, func(emit emit) {
			all := databases.Databases()
			for i := range all {
				if v, ok := value(&all[i]); ok {
					emit(v, string(all[i].App), all[i].Database)
				}
			}
		})
	}
	always := func(value func(d *sql.Described) float64) func(d *sql.Described) (float64, bool) {
		return func(d *sql.Described) (float64, bool) { return value(d), true }
	}
	gauge("mayfly_database_waits_total", "Statements and transactions that waited for a connection for more than 1 ms.", true, always(func(d *sql.Described) float64 { return float64(d.Waits) }))
	gauge("mayfly_database_wait_seconds_total", "How long they waited.", true, always(func(d *sql.Described) float64 { return float64(d.WaitedMS) / 1000 }))
	gauge("mayfly_database_refused_total", "Those that waited for too long.", true, always(func(d *sql.Described) float64 { return float64(d.Refused) }))
	gauge("mayfly_database_bytes", "The size of an SQLite database.", false, func(d *sql.Described) (float64, bool) { return float64(d.Bytes), d.Engine == "sqlite" })
	gauge("mayfly_database_connections", "Open connections to PostgreSQL.", false, func(d *sql.Described) (float64, bool) {
		return float64(d.Connections), d.Engine == "postgres"
	})
	gauge("mayfly_database_copy_age_seconds", "How old the point-in-time copies of an SQLite database are.", false, func(d *sql.Described) (float64, bool) {
		if d.Copies == nil || d.Copies.Last == nil {
			return 0, false
		}
		return time.Since(*d.Copies.Last).Seconds(), true
	})
	gauge("mayfly_database_sessions", "Clients that speak PostgreSQL's protocol; between transactions they have no connection.", false, func(d *sql.Described) (float64, bool) {
		return float64(d.Sessions), d.Engine == "postgres"
	})
	changes := func(value func(c *sql.Capture) float64) func(d *sql.Described) (float64, bool) {
		return func(d *sql.Described) (float64, bool) {
			if d.Changes == nil {
				return 0, false
			}
			return value(d.Changes), true
		}
	}
	is := func(ok bool) float64 {
		if ok {
			return 1
		}
		return 0
	}
	gauge("mayfly_database_changes_following", "Whether PostgreSQL's changes are followed: 1 or 0.", false, changes(func(c *sql.Capture) float64 { return is(c.State == "following") }))
	gauge("mayfly_database_changes_lost", "Whether changes were lost, and the events stopped: 1 or 0.", false, changes(func(c *sql.Capture) float64 { return is(c.State == "lost") }))
	gauge("mayfly_database_changes_lag_bytes", "Write-ahead log that PostgreSQL keeps for the changes that are followed.", false, changes(func(c *sql.Capture) float64 { return float64(c.Lag) }))
}
