package daemon

import (
	"fmt"
	"time"

	"github.com/mayfly-cloud/mayfly/identity"
	"github.com/mayfly-cloud/mayfly/service/secret"
)

// openGrants makes the authorizer and the trail of its decisions.
func (n *Node) openGrants() (err error) {
	if n.trail, err = identity.OpenTrail(identity.TrailConfig{Dir: n.cfg.path("audit"), Log: n.cfg.Log}); err != nil {
		return err
	}
	n.closing(func() error { return n.trail.Flush(time.Now()) })
	n.parts.grants = identity.NewAuthorizer(n.trail.Record)
	n.parts.runs("audit", n.trail.Run)
	n.parts.api = append(n.parts.api, n.trail)
	return nil
}

// transit is where the root key of secrets is, where it is not in the data
// folder.
func (c Config) transit() *secret.Transit {
	if c.RootKey == "" {
		return nil
	}
	return &secret.Transit{URL: c.RootKey, Token: c.RootKeyToken}
}

// accessed records the use of a secret's value.
func (n *Node) accessed(a secret.Access) {
	n.cfg.Log.Info("secret used", "how", a.How, "app", a.App, "secret", a.Name, "version", a.Version, "who", a.Who.Kind, "function", a.Who.Function)
	n.trail.Record(identity.Decision{
		Time: a.Time, Who: a.Who, App: a.App, Verb: a.How, Kind: "secret", Name: a.Name, Allowed: true, Detail: fmt.Sprint("version ", a.Version),
	})
}
