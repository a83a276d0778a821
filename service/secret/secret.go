package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/service"
)

// Limits of the service.
const (
	MaxValue     = 64 << 10 // bytes
	VersionsKept = 10
)

// Index is where sealed secrets are. The engine's index is one.
type Index interface {
	Get(key string) (value []byte, rev uint64, ok bool)
	List(prefix string) iter.Seq[engine.Entry]
	Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error)
	Delete(ctx context.Context, key string, rev uint64) error
}

// Access is one use of a secret's value, for the audit.
type Access struct {
	Time    time.Time      `json:"time"`
	Who     mayfly.Caller  `json:"who"`
	App     mayfly.AppName `json:"app"`
	Name    string         `json:"name"`
	Version int            `json:"version"`
	How     string         `json:"how"` // reveal, deliver, platform, set, finish, delete
}

// Config says what the service is made of.
type Config struct {
	Index    Index
	RootKey  string   // file of the root key; made where missing
	Transit  *Transit // the root key is there instead; nil: in the file
	Authz    service.Authorizer
	Accessed func(Access)                          // told of every use from its goroutine; may be nil
	Changed  func(app mayfly.AppName, name string) // the current value is another now; may be nil
	Log      *slog.Logger                          // default: discards
}

// Driver is the secrets of all apps. It is safe for concurrent use.
type Driver struct {
	cfg      Config
	sealer   tink.AEAD
	redactor redactor
	mu       sync.Mutex // one change of this node at a time
}

var _ service.Driver = (*Driver)(nil)

// Open reads the root key and the keyset, and makes both at the first start.
func Open(ctx context.Context, cfg Config) (*Driver, error) {
	if cfg.Accessed == nil {
		cfg.Accessed = func(Access) {}
	}
	if cfg.Changed == nil {
		cfg.Changed = func(mayfly.AppName, string) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Driver{cfg: cfg}
	var err error
	if d.sealer, err = openKeyset(ctx, &d.cfg); err != nil {
		return nil, err
	}
	d.redactor.values = d.plain
	return d, nil
}

// stored is a secret in the index.
type stored struct {
	Current  int       `json:"current"`           // 0: none was finished yet
	Pending  int       `json:"pending,omitempty"` // 0: none is staged
	Versions []version `json:"versions"`          // oldest first
}

type version struct {
	Number  int       `json:"version"`
	Created time.Time `json:"created"`
	Sealed  []byte    `json:"sealed"`
}

func (s *stored) find(number int) *version {
	for i := range s.Versions {
		if s.Versions[i].Number == number {
			return &s.Versions[i]
		}
	}
	return nil
}

// Info describes a secret without its value.
type Info struct {
	Name     string        `json:"name"`
	Current  int           `json:"current"`
	Pending  int           `json:"pending,omitempty"`
	Versions []VersionInfo `json:"versions"`
}

// VersionInfo describes one version.
type VersionInfo struct {
	Version int       `json:"version"`
	Created time.Time `json:"created"`
}

var namePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,126}$`)

func checkName(name string) error {
	if !namePattern.MatchString(name) {
		return mayfly.Errorf(mayfly.Invalid, "use secret", "%q cannot name a secret: use letters, digits, underscores and dashes, such as STRIPE_KEY", name)
	}
	return nil
}

func indexKey(app mayfly.AppName, name string) string { return "secrets." + string(app) + "." + name }

// load reads a secret; rev is what a change of it must name.
func (d *Driver) load(app mayfly.AppName, name string) (s stored, rev uint64, err error) {
	data, rev, ok := d.cfg.Index.Get(indexKey(app, name))
	if !ok {
		return s, 0, mayfly.Errorf(mayfly.NotFound, "use secret "+name, "app %s has no secret %s; run: mayfly secret set %s --app %s", app, name, name, app)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, 0, fmt.Errorf("read secret %s of app %s: %w", name, app, err)
	}
	return s, rev, nil
}

func (d *Driver) save(ctx context.Context, app mayfly.AppName, name string, s *stored, rev uint64) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if _, err := d.cfg.Index.Put(ctx, indexKey(app, name), data, rev); err != nil {
		return fmt.Errorf("write secret %s: %w", name, err)
	}
	d.redactor.stale()
	return nil
}

// Set adds a version and makes it current, or pending where staged. It returns
// the version's number.
func (d *Driver) Set(ctx context.Context, app mayfly.AppName, name, value string, staged bool) (int, error) {
	if err := checkName(name); err != nil {
		return 0, err
	}
	if !mayfly.ValidName(string(app)) {
		return 0, mayfly.Errorf(mayfly.Invalid, "set secret "+name, "%q is not an app's name", app)
	}
	if len(value) == 0 || len(value) > MaxValue {
		return 0, mayfly.Errorf(mayfly.Invalid, "set secret "+name, "a value has 1 to %d bytes, not %d", MaxValue, len(value))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, rev, err := d.load(app, name)
	if err != nil && mayfly.CodeOf(err) != mayfly.NotFound {
		return 0, err
	}
	number := 1
	if n := len(s.Versions); n > 0 {
		number = s.Versions[n-1].Number + 1
	}
	sealed, err := d.sealer.Encrypt([]byte(value), associated(app, name, number))
	if err != nil {
		return 0, fmt.Errorf("seal secret %s: %w", name, err)
	}
	s.Versions = append(s.Versions, version{number, time.Now().UTC(), sealed})
	if staged {
		s.Pending = number
	} else {
		s.Current, s.Pending = number, 0
	}
	s.forget()
	if err := d.save(ctx, app, name, &s, rev); err != nil {
		return 0, err
	}
	d.used(ctx, app, name, number, "set")
	if !staged {
		d.cfg.Changed(app, name)
	}
	return number, nil
}

// forget drops the oldest versions that are in no use.
func (s *stored) forget() {
	for i := 0; len(s.Versions) > VersionsKept && i < len(s.Versions); {
		if n := s.Versions[i].Number; n == s.Current || n == s.Pending {
			i++
			continue
		}
		s.Versions = slices.Delete(s.Versions, i, i+1)
	}
}

// Finish makes the pending version current.
func (d *Driver) Finish(ctx context.Context, app mayfly.AppName, name string) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, rev, err := d.load(app, name)
	if err != nil {
		return 0, err
	}
	if s.Pending == 0 {
		return 0, mayfly.Errorf(mayfly.Conflict, "finish secret "+name, "no version is pending; set one with stage pending first")
	}
	s.Current, s.Pending = s.Pending, 0
	if err := d.save(ctx, app, name, &s, rev); err != nil {
		return 0, err
	}
	d.used(ctx, app, name, s.Current, "finish")
	d.cfg.Changed(app, name)
	return s.Current, nil
}

// Delete removes a secret with all its versions.
func (d *Driver) Delete(ctx context.Context, app mayfly.AppName, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, rev, err := d.load(app, name)
	if err != nil {
		return err
	}
	if err := d.cfg.Index.Delete(ctx, indexKey(app, name), rev); err != nil {
		return fmt.Errorf("delete secret %s: %w", name, err)
	}
	d.redactor.stale()
	d.used(ctx, app, name, 0, "delete")
	return nil
}

// Reveal is the value of a version; 0 is the current one, Pending the staged one.
func (d *Driver) Reveal(ctx context.Context, app mayfly.AppName, name string, number int) (value string, actual int, err error) {
	value, actual, err = d.open(app, name, number)
	if err == nil {
		d.used(ctx, app, name, actual, "reveal")
	}
	return value, actual, err
}

// Pending asks Reveal for the staged version.
const Pending = -1

func (d *Driver) open(app mayfly.AppName, name string, number int) (string, int, error) {
	s, _, err := d.load(app, name)
	if err != nil {
		return "", 0, err
	}
	switch number {
	case 0:
		number = s.Current
	case Pending:
		number = s.Pending
	}
	v := s.find(number)
	if v == nil {
		return "", 0, mayfly.Errorf(mayfly.NotFound, "use secret "+name, "the secret has no such version")
	}
	plain, err := d.sealer.Decrypt(v.Sealed, associated(app, name, number))
	if err != nil {
		return "", 0, fmt.Errorf("unseal secret %s of app %s: %w", name, app, err)
	}
	return string(plain), number, nil
}

// List describes an app's secrets, by name.
func (d *Driver) List(app mayfly.AppName) []Info {
	prefix := indexKey(app, "")
	out := []Info{}
	for entry := range d.cfg.Index.List(prefix) {
		var s stored
		if json.Unmarshal(entry.Value, &s) != nil {
			continue
		}
		out = append(out, s.info(strings.TrimPrefix(entry.Key, prefix)))
	}
	return out
}

func (s *stored) info(name string) Info {
	i := Info{Name: name, Current: s.Current, Pending: s.Pending}
	for _, v := range s.Versions {
		i.Versions = append(i.Versions, VersionInfo{v.Number, v.Created})
	}
	return i
}

// Secret is the current value, for the platform's own use.
func (d *Driver) Secret(ctx context.Context, app mayfly.AppName, name string) (string, error) {
	value, number, err := d.open(app, name, 0)
	if err == nil {
		d.used(ctx, app, name, number, "platform")
	}
	return value, err
}

// Resolve is the current values of a function's secrets: as variables, or as
// files where a name ends in ":file". It names all that are missing.
func (d *Driver) Resolve(ctx context.Context, app mayfly.AppName, names []string) (env map[string]string, files map[string][]byte, err error) {
	if err := d.missing(app, names); err != nil {
		return nil, nil, err
	}
	env, files = map[string]string{}, map[string][]byte{}
	for _, ref := range names {
		name, how, _ := strings.Cut(ref, ":")
		value, number, err := d.open(app, name, 0)
		if err != nil {
			return nil, nil, err
		}
		d.used(ctx, app, name, number, "deliver")
		if how == "file" {
			files[name] = []byte(value)
		} else {
			env[name] = value
		}
	}
	return env, files, nil
}

func (d *Driver) missing(app mayfly.AppName, names []string) error {
	var absent []string
	for _, ref := range names {
		name, _, _ := strings.Cut(ref, ":")
		if s, _, err := d.load(app, name); (err != nil || s.Current == 0) && !slices.Contains(absent, name) {
			absent = append(absent, name)
		}
	}
	if len(absent) == 0 {
		return nil
	}
	return mayfly.Errorf(mayfly.NotFound, "resolve secrets", "app %s has no secret %s; run: mayfly secret set %s --app %s", app, strings.Join(absent, ", "), absent[0], app)
}

// Kind is the kind of resource that grants name.
func (d *Driver) Kind() string { return service.KindSecret }

// Check says which secrets that m refers to have no name one can set, or are
// not set.
func (d *Driver) Check(m *mayfly.Manifest) error {
	var problems []error
	for where, ref := range references(m) {
		name, how, suffixed := strings.Cut(ref, ":")
		switch {
		case suffixed && how != "file":
			problems = append(problems, mayfly.Errorf(mayfly.Invalid, where, "%q: write NAME for a variable or NAME:file for a file", ref))
		case checkName(name) != nil:
			problems = append(problems, fmt.Errorf("%s: %w", where, checkName(name)))
		default:
			if s, _, err := d.load(m.App, name); err != nil || s.Current == 0 {
				problems = append(problems, mayfly.Errorf(mayfly.Invalid, where, "secret %s is not set; run: mayfly secret set %s --app %s", name, name, m.App))
			}
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

// references yields every secret that a manifest names, with where it does.
func references(m *mayfly.Manifest) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for name, fn := range m.Functions {
			for i, ref := range fn.Secrets {
				if !yield(fmt.Sprintf("functions.%s.secrets[%d]", name, i), ref) {
					return
				}
			}
			for i, t := range fn.On {
				if t.Secret != "" && !yield(fmt.Sprintf("functions.%s.on[%d].secret", name, i), t.Secret) {
					return
				}
				if t.DSN != "" && !yield(fmt.Sprintf("functions.%s.on[%d].dsn", name, i), t.DSN) {
					return
				}
			}
		}
		for name, db := range m.Databases {
			if db != nil && db.DSN != "" && !yield("databases."+name+".dsn", db.DSN) {
				return
			}
		}
		for name, b := range m.Buckets {
			if b != nil && b.Credentials != "" && !yield("buckets."+name+".credentials", b.Credentials) {
				return
			}
		}
		for name, hook := range m.Webhooks {
			if hook != nil && hook.Secret != "" && !yield("webhooks."+name+".secret", hook.Secret) {
				return
			}
		}
	}
}

// Apply has nothing to make: a manifest refers to secrets and declares none.
func (d *Driver) Apply(context.Context, []*mayfly.Manifest) error { return nil }

// Run has no work of its own.
func (d *Driver) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (d *Driver) used(ctx context.Context, app mayfly.AppName, name string, number int, how string) {
	d.cfg.Accessed(Access{Time: time.Now(), Who: mayfly.CallerFrom(ctx), App: app, Name: name, Version: number, How: how})
}

// plain is every value that is kept, for the redactor.
func (d *Driver) plain() []string {
	var out []string
	for entry := range d.cfg.Index.List("secrets.") {
		app, name, _ := strings.Cut(strings.TrimPrefix(entry.Key, "secrets."), ".")
		var s stored
		if json.Unmarshal(entry.Value, &s) != nil {
			continue
		}
		for _, v := range s.Versions {
			if plain, err := d.sealer.Decrypt(v.Sealed, associated(mayfly.AppName(app), name, v.Number)); err == nil {
				out = append(out, string(plain))
			}
		}
	}
	return out
}

// Redact replaces every secret in a line of output by "[secret]".
func (d *Driver) Redact(line string) string { return d.redactor.redact(line) }
