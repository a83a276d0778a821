package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
	"github.com/mayfly-cloud/mayfly/service"
)

// Issued is a key that somebody outside has for the buckets of one app, without
// its secret.
type Issued struct {
	App     mayfly.AppName `json:"app"`
	Name    string         `json:"name" doc:"Whose it is: a person or a tool"`
	Access  string         `json:"access_key_id"`
	Allow   []string       `json:"allow" doc:"Lines as in a function's allow"`
	Created time.Time      `json:"created"`
	Expires time.Time      `json:"expires,omitzero" doc:"It does nothing after that"`
}

// kept is an issued key as it is on the disk: the credentials are derived from
// the serial, which is another for each key.
type kept struct {
	Issued
	Serial string `json:"serial"`
}

func (i *kept) caller() mayfly.Caller {
	return mayfly.Caller{Kind: mayfly.CallerUser, App: i.App, Name: i.Name}
}

func (i *kept) ended(now time.Time) bool { return !i.Expires.IsZero() && !now.Before(i.Expires) }

// issuer keeps the issued keys, each in a file. Its secrets are derived, so that
// none is on the disk.
type issuer struct {
	dir    string
	derive func(subject string) Key
	tell   func([]identity.User) error

	mu    sync.Mutex                       // of changes
	known atomic.Pointer[map[string]*kept] // by access key
}

func openIssuer(dir string, derive func(string) Key, tell func([]identity.User) error) (*issuer, error) {
	i := &issuer{dir: dir, derive: derive, tell: tell}
	if i.tell == nil {
		i.tell = func([]identity.User) error { return nil }
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	known := map[string]*kept{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		k := &kept{}
		if err == nil {
			err = json.Unmarshal(data, k)
		}
		if err != nil {
			return nil, fmt.Errorf("read key %s: %w", file, err)
		}
		known[k.Access] = k
	}
	return i, i.use(known)
}

// use brings a set of keys into force: what they may do first.
func (i *issuer) use(known map[string]*kept) error {
	var users []identity.User
	for _, k := range known {
		users = append(users, identity.User{App: k.App, Name: k.Name, Allow: k.Allow})
	}
	if err := i.tell(users); err != nil {
		return err
	}
	i.known.Store(&known)
	return nil
}

// find is the key of an access key, where it still does something.
func (i *issuer) find(access string) (*kept, bool) {
	k, ok := (*i.known.Load())[access]
	return k, ok && !k.ended(time.Now())
}

// of is an app's keys by name.
func (i *issuer) of(app mayfly.AppName) []Issued {
	out := []Issued{}
	for _, k := range *i.known.Load() {
		if k.App == app {
			out = append(out, k.Issued)
		}
	}
	slices.SortFunc(out, func(a, b Issued) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (i *issuer) file(app mayfly.AppName, name string) string {
	return filepath.Join(i.dir, string(app)+"."+name+".json")
}

// issue makes a key, which is on the disk when it returns.
func (i *issuer) issue(is Issued) (Key, error) {
	k := kept{Issued: is, Serial: mayfly.NewID()}
	i.mu.Lock()
	defer i.mu.Unlock()
	old := *i.known.Load()
	for _, other := range old {
		if other.App == k.App && other.Name == k.Name {
			return Key{}, mayfly.Errorf(mayfly.Conflict, "create key", "app %s has a key %q already; revoke it first, or choose another name", k.App, k.Name)
		}
	}
	key := i.derive(subjectOf(&k))
	k.Access = key.Access
	next := maps.Clone(old)
	next[k.Access] = &k
	if err := i.write(&k); err != nil {
		return Key{}, err
	}
	if err := i.use(next); err != nil {
		return Key{}, errors.Join(err, os.Remove(i.file(k.App, k.Name)))
	}
	return key, nil
}

func subjectOf(k *kept) string { return "issued " + k.Serial }

func (i *issuer) write(k *kept) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	tmp := filepath.Join(i.dir, "new")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, i.file(k.App, k.Name)); err != nil {
		return err
	}
	return i.sync()
}

// sync makes a change of the folder last.
func (i *issuer) sync() error {
	d, err := os.Open(i.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// revoke ends a key for good.
func (i *issuer) revoke(app mayfly.AppName, name string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	old := *i.known.Load()
	next := maps.Clone(old)
	maps.DeleteFunc(next, func(_ string, k *kept) bool { return k.App == app && k.Name == name })
	if len(next) == len(old) {
		return mayfly.Errorf(mayfly.NotFound, "revoke key", "app %s has no key %q", app, name)
	}
	if err := os.Remove(i.file(app, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(i.use(next), i.sync())
}

// The operations of the API.

// KeyPath names an issued key; exported so that huma fills it.
type KeyPath struct {
	App  string `path:"app"`
	Name string `path:"name"`
}

type createInput struct {
	App  string `path:"app"`
	Body struct {
		Name    string   `json:"name" minLength:"1" maxLength:"63" doc:"Whose it is: a person or a tool"`
		Allow   []string `json:"allow" minItems:"1" maxItems:"100" doc:"What it may do, as in a function's allow: read bucket/uploads"`
		Expires string   `json:"expires,omitempty" doc:"After which time it does nothing: 30d; default: never"`
	}
}

type createOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Issued
		Secret   string `json:"secret_access_key" doc:"It is told now and never again"`
		Endpoint string `json:"endpoint"`
		Region   string `json:"region"`
	}
}

type issuedOutput struct {
	Body struct {
		Keys []Issued `json:"keys"`
	}
}

// manages refuses everyone but the administrator, which the audit has.
func (d *Driver) manages(ctx context.Context, app mayfly.AppName, verb, name string) error {
	who := mayfly.CallerFrom(ctx)
	if who.Kind == mayfly.CallerFunction || who.Kind == mayfly.CallerUser {
		return mayfly.Errorf(mayfly.Denied, verb+" key", "%s may not; the administrator makes and revokes keys", who)
	}
	return d.cfg.Authz.Authorize(ctx, who, app, verb, "key", name)
}

func (d *Driver) createKey(ctx context.Context, in *createInput) (*createOutput, error) {
	app := mayfly.AppName(in.App)
	if err := d.manages(ctx, app, "create", in.Body.Name); err != nil {
		return nil, err
	}
	k := Issued{App: app, Name: in.Body.Name, Allow: in.Body.Allow, Created: time.Now().UTC().Truncate(time.Second)}
	if !mayfly.ValidName(k.Name) {
		return nil, mayfly.Errorf(mayfly.Invalid, "create key", "%q cannot name a key; use lower case letters, digits and dashes, a letter first", k.Name)
	}
	if in.Body.Expires != "" {
		life, err := mayfly.ParseDuration(in.Body.Expires)
		if err != nil {
			return nil, err
		}
		k.Expires = k.Created.Add(life.D())
	}
	if err := d.checkAllow(app, k.Allow); err != nil {
		return nil, err
	}
	key, err := d.keys.issued.issue(k)
	if err != nil {
		return nil, err
	}
	out := &createOutput{CacheControl: "no-store"}
	k.Access = key.Access
	out.Body.Issued, out.Body.Secret, out.Body.Region = k, key.Secret, Region
	if url := d.url.Load(); url != nil {
		out.Body.Endpoint = *url
	}
	return out, nil
}

// checkAllow wants lines about buckets that the app declares.
func (d *Driver) checkAllow(app mayfly.AppName, lines []string) error {
	for _, line := range lines {
		g, err := mayfly.ParseGrant(line)
		if err != nil {
			return err
		}
		if g.Kind != service.KindBucket || !slices.Contains([]string{"*", service.Read, service.Write, service.Delete, service.List}, g.Verb) {
			return mayfly.Errorf(mayfly.Invalid, "create key", "%q: a key is for buckets; write read, write, delete, list or * and bucket/NAME", line)
		}
		if !strings.Contains(g.Name, "*") && d.spec(app, g.Name) == nil {
			return mayfly.Errorf(mayfly.Invalid, "create key", "%q: app %s declares no bucket %q", line, app, g.Name)
		}
	}
	return nil
}

func (d *Driver) listKeys(ctx context.Context, in *struct {
	App string `path:"app"`
}) (*issuedOutput, error) {
	if err := d.manages(ctx, mayfly.AppName(in.App), "list", "*"); err != nil {
		return nil, err
	}
	out := &issuedOutput{}
	out.Body.Keys = d.keys.issued.of(mayfly.AppName(in.App))
	return out, nil
}

func (d *Driver) revokeKey(ctx context.Context, in *KeyPath) (*struct{}, error) {
	if err := d.manages(ctx, mayfly.AppName(in.App), "revoke", in.Name); err != nil {
		return nil, err
	}
	return nil, d.keys.issued.revoke(mayfly.AppName(in.App), in.Name)
}
