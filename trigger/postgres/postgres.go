package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event/cloudevent"
	"github.com/mayfly-cloud/mayfly/trigger"
)

const (
	connectTimeout = 10 * time.Second // where the DSN says none
	pingEvery      = 30 * time.Second // where nothing is notified
	maxChannel     = 63               // bytes of a name, as PostgreSQL has it
)

// Config of the sources. Secrets is needed too: a DSN is one.
type Config = trigger.SourceConfig

// Driver listens to the channels of all bindings. It is safe for concurrent use.
type Driver struct{ *trigger.Source }

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver without bindings.
func New(cfg Config) *Driver {
	d := &Driver{}
	d.Source = trigger.NewSource(cfg, d.consume)
	return d
}

// Kind is the trigger's kind.
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerPostgres }

// Check wants channels, and a database of PostgreSQL or a DSN.
func (d *Driver) Check(m *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: postgres %s", fn, t.Postgres)
	for _, channel := range channels(t) {
		if channel == "" || len(channel) > maxChannel || strings.ContainsRune(channel, 0) {
			return mayfly.Errorf(mayfly.Invalid, op, "%q is not a channel; it has 1 to %d bytes, and commas stand between several", channel, maxChannel)
		}
	}
	if (t.Database == "") == (t.DSN == "") {
		return mayfly.Errorf(mayfly.Invalid, op, "name the server: database: one of databases, or dsn: a secret that holds postgres://USER:PASSWORD@HOST/DATABASE")
	}
	if t.Database == "" {
		return nil
	}
	if db := m.Databases[t.Database]; db == nil || db.Engine != "postgres" {
		return mayfly.Errorf(mayfly.Invalid, op, "the database %s is not one of engine: postgres; only PostgreSQL notifies", t.Database)
	}
	return nil
}

// channels are the names between the commas, case and all.
func channels(t *mayfly.Trigger) []string {
	all := strings.Split(t.Postgres, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

func (d *Driver) consume(ctx context.Context, b *trigger.Binding, l *trigger.Link) error {
	cfg, err := d.dsn(ctx, b)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	for _, channel := range channels(&b.Trigger) {
		if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
			return fmt.Errorf("listen to %s: %w", channel, err)
		}
	}
	if was := l.State(); was.Status == trigger.LinkLost {
		d.Log.Warn("what was notified while the connection was lost is lost", "binding", b.String(), "since", was.Since, "for", time.Since(was.Since).Round(time.Millisecond))
	}
	l.Up()
	for {
		n, err := next(ctx, conn)
		if err != nil {
			return err
		}
		event, err := cloudevent.Encode(trigger.Outside(mayfly.TriggerPostgres, server(cfg), n.Channel, "", time.Now(), []byte(n.Payload)))
		if err != nil {
			return err
		}
		// The server has no copy: what cannot be accepted now is kept here.
		if _, err := l.Hold(ctx, 1, n.Channel, "", event); err != nil {
			return err
		}
	}
}

// next waits for a notification. While none comes, it sees to it that the server
// is still there: a connection that is dead is as silent as one that is idle.
func next(ctx context.Context, conn *pgx.Conn) (*pgconn.Notification, error) {
	for {
		quiet, cancel := context.WithTimeout(ctx, pingEvery)
		n, err := conn.WaitForNotification(quiet)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return n, err
		}
		answer, cancel := context.WithTimeout(ctx, connectTimeout)
		err = conn.Ping(answer)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("the server does not answer: %w", err)
		}
	}
}

// dsn is how to connect. It is read each time, so that a secret can be changed.
func (d *Driver) dsn(ctx context.Context, b *trigger.Binding) (*pgx.ConnConfig, error) {
	name := b.Trigger.DSN
	if name == "" && b.Manifest != nil {
		if db := b.Manifest.Databases[b.Trigger.Database]; db != nil {
			name = db.DSN
		}
	}
	text, err := d.Secrets.Secret(ctx, b.App, name)
	if err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(strings.TrimSpace(text))
	if err != nil {
		// The cause may show the password.
		return nil, mayfly.Errorf(mayfly.Invalid, "connect", "the secret %s holds no DSN; write it as postgres://USER:PASSWORD@HOST/DATABASE", name)
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "mayfly"
	}
	return cfg, nil
}

// server names the database in events, without credentials.
func server(cfg *pgx.ConnConfig) string {
	host := net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
	if strings.HasPrefix(cfg.Host, "/") { // a socket's folder
		host = "localhost"
	}
	return (&url.URL{Scheme: "postgres", Host: host, Path: "/" + cfg.Database}).String()
}
