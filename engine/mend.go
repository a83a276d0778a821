package engine

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// stuck is what the embedded server says when a store keeps a write error: its
// stream takes no writes from then on, whatever room there is.
const stuck = "Critical write error"

// heard starts to mend the store where the server says that a stream is stuck.
func (e *Engine) heard(format string) {
	if !strings.Contains(format, stuck) {
		return
	}
	e.ear.Lock()
	defer e.ear.Unlock()
	if e.mending || e.closing.Err() != nil {
		return
	}
	e.mending = true
	e.menders.Go(e.mend)
}

// mend opens the embedded server's streams again when there is room. Writes wait
// meanwhile; what was written before is there after.
func (e *Engine) mend() {
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		select {
		case <-e.closing.Done():
			return
		case <-again.C:
		}
		if e.room("", int(reserve)) != nil {
			continue
		}
		if e.reopen() == nil {
			return
		}
		e.ear.Lock()
		other := e.mending
		e.mending = true
		e.ear.Unlock()
		if other {
			return
		}
	}
}

// reopen is a restart of the server's part that keeps streams.
func (e *Engine) reopen() error {
	defer e.Hold()()
	began := time.Now()
	o := e.options
	err := e.server.ShutdownJetStream()
	e.ear.Lock()
	e.mending = false // what is said from here on is of the streams as they are opened
	e.ear.Unlock()
	if err == nil {
		err = e.server.EnableJetStream(&server.JetStreamConfig{
			StoreDir: o.StoreDir, Domain: o.JetStreamDomain, MaxMemory: o.JetStreamMaxMemory, MaxStore: o.JetStreamMaxStore,
			SyncAlways: o.SyncAlways, SyncInterval: o.SyncInterval,
		})
	}
	if err == nil {
		err = e.index.again(context.Background())
	}
	if err != nil {
		e.cfg.Logger.Error("the engine's streams cannot be opened again after a write error", "error", err)
		return err
	}
	e.cfg.Logger.Warn("the engine's streams were opened again after a write error, now that there is room", "took", time.Since(began).Round(time.Millisecond))
	return nil
}
