package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mayfly-cloud/mayfly"
)

// domain is the JetStream domain of the embedded server.
const domain = "main"

// maxPayload bounds one record of the embedded server.
const maxPayload = 8 << 20

// Engine is an open store. Its methods may be called concurrently.
type Engine struct {
	cfg    Config
	folder *folder        // nil with an external server
	server *server.Server // nil with an external server
	conn   *nats.Conn
	js     jetstream.JetStream
	index  *Index
	free   func(dir string) (mayfly.Bytes, bool) // freeSpace, but for tests

	writes sync.RWMutex // held for reading by each write, for writing by Hold

	mu   sync.Mutex         // held over requests to the server
	logs map[string]*Log    // guarded by mu
	kvs  map[string]*Bucket // guarded by mu

	options *server.Options // of the embedded server
	ear     sync.Mutex      // the server takes it while it answers: no request is made under it
	mending bool            // guarded by ear; mend runs
	menders sync.WaitGroup
	closing context.Context
	end     context.CancelFunc // of closing
	close   sync.Once
}

// Open starts the embedded server, or connects to the external one, and reads
// the config bucket. It returns a Conflict error where another process uses the
// folder, and an Invalid one where the folder is of another layout version.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, free: freeSpace, logs: map[string]*Log{}, kvs: map[string]*Bucket{}}
	e.closing, e.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := e.open(ctx); err != nil {
		_ = e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) open(ctx context.Context) (err error) {
	if e.cfg.URL != "" {
		err = e.connect()
	} else {
		err = e.embed()
	}
	if err != nil {
		return err
	}
	bucket, err := e.Bucket(ctx, "config")
	if err != nil {
		return err
	}
	e.index, err = openIndex(ctx, bucket)
	return err
}

func (e *Engine) connect() (err error) {
	e.conn, err = nats.Connect(e.cfg.URL, nats.Name("mayfly"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(false))
	if err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "open engine", "no NATS server answers at %s: %w", e.cfg.URL, err)
	}
	if e.cfg.Domain != "" {
		e.js, err = jetstream.NewWithDomain(e.conn, e.cfg.Domain)
	} else {
		e.js, err = jetstream.New(e.conn)
	}
	return err
}

func (e *Engine) embed() (err error) {
	if e.folder, err = openFolder(e.cfg.Dir); err != nil {
		return err
	}
	if e.options, err = e.serverOptions(); err != nil {
		return err
	}
	if e.server, err = server.NewServer(e.options); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "open engine", "cannot make the embedded NATS server: %w", err)
	}
	e.server.SetLoggerV2(serverLog{e.cfg.Logger, e.heard}, false, false, false)
	e.server.Start()
	if !e.server.ReadyForConnections(e.cfg.Timeout) {
		return mayfly.Errorf(mayfly.Unavailable, "open engine", "the embedded NATS server is not ready after %s; see the log", e.cfg.Timeout)
	}
	e.conn, err = nats.Connect("", nats.Name("mayfly"), nats.InProcessServer(e.server), nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("connect to the embedded NATS server: %w", err)
	}
	e.js, err = jetstream.NewWithDomain(e.conn, domain)
	return err
}

func (e *Engine) serverOptions() (*server.Options, error) {
	opts := &server.Options{
		ServerName:             "mayfly",
		DontListen:             e.cfg.Listen == "",
		JetStream:              true,
		StoreDir:               e.cfg.Dir,
		JetStreamDomain:        domain,
		JetStreamMaxMemory:     64 << 20,
		JetStreamMaxStore:      1 << 50, // each log and bucket has its own limit
		SyncAlways:             e.cfg.Durability == Always,
		SyncInterval:           fastSync,
		MaxPayload:             maxPayload,
		MaxPending:             64 << 20,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
	}
	if e.cfg.Listen == "" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(e.cfg.Listen)
	if err == nil {
		opts.Host = host
		opts.Port, err = strconv.Atoi(port)
	}
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "open engine", "%q is not a listen address; write it as 127.0.0.1:4222", e.cfg.Listen)
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return opts, nil
}

// URL is where clients reach the server, "" where it has no TCP listener.
func (e *Engine) URL() string {
	switch {
	case e.server == nil:
		return e.cfg.URL
	case e.cfg.Listen == "":
		return ""
	}
	return e.server.ClientURL()
}

// Index is the in-memory mirror of the config bucket.
func (e *Engine) Index() *Index { return e.index }

// Conn is the connection to the server; it belongs to the engine.
func (e *Engine) Conn() *nats.Conn { return e.conn }

// JetStream is for parts that need more than logs and buckets.
func (e *Engine) JetStream() jetstream.JetStream { return e.js }

// Close ends the server after its writes. It may be called twice.
func (e *Engine) Close() error {
	e.close.Do(func() {
		e.end()
		e.menders.Wait()
		if e.index != nil {
			e.index.close()
		}
		if e.conn != nil {
			closed := make(chan struct{})
			e.conn.SetClosedHandler(func(*nats.Conn) { close(closed) })
			wasClosed := e.conn.IsClosed()
			e.conn.Close()
			if !wasClosed {
				<-closed
			}
		}
		if e.server != nil {
			e.server.Shutdown()
			e.server.WaitForShutdown()
		}
		if e.folder != nil {
			e.folder.close()
		}
	})
	return nil
}

// call bounds one request to the server.
func (e *Engine) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, e.cfg.Timeout)
}

// serverLog hands the embedded server's log to ours, a level lower: it tells of
// what it mends by itself, such as after a crash. Its notices are debug
// messages here: they speak of a server that users did not start.
type serverLog struct {
	log   *slog.Logger
	heard func(format string) // told of errors
}

func (l serverLog) write(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, fmt.Sprintf(format, v...), "part", "nats")
	}
}
func (l serverLog) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l serverLog) Warnf(format string, v ...any)   { l.write(slog.LevelInfo, format, v) }
func (l serverLog) Fatalf(format string, v ...any)  { l.write(slog.LevelError, format, v) }
func (l serverLog) Errorf(format string, v ...any) {
	l.write(slog.LevelError, format, v)
	l.heard(format)
}
func (l serverLog) Debugf(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l serverLog) Tracef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
