package bucket

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
	"github.com/mayfly-cloud/mayfly/service"
)

// Region is what S3 clients must say; it means nothing here.
const Region = "us-east-1"

// DoorPort is where functions reach the service.
const DoorPort = 9003

// Config says what the service is made of.
type Config struct {
	Dir     string // folder of the service; made where missing
	Authz   service.Authorizer
	Changed func(ctx context.Context, c service.ObjectChange) error // takes an event for its functions, durably; nil: none listens
	Users   func([]identity.User) error                             // is told who has which rights by a key, for Authz to know; nil: nobody gets one
	Quotas  *service.Quotas                                         // of apps; nil: none has one
	Secrets Secrets                                                 // credentials of buckets on other servers
	Tracer  Tracer                                                  // of what functions do over S3; nil: none
	Every   time.Duration                                           // between lifecycle runs; default 1 h
	Log     *slog.Logger                                            // default: discards
}

// Driver is the object service of a node. It is safe for concurrent use.
type Driver struct {
	cfg       Config
	folders   string // of buckets, absolute
	intents   string
	keys      *keyring
	files     backend.Backend
	gate      *gate
	outward   *http.Transport // to other S3 servers
	strangers *fiber.App      // makes requests of strangers as versitygw has them
	server    *server
	late      atomic.Bool // an event waits to be told again
	url       atomic.Pointer[string]

	mu      sync.Mutex // of Apply
	started bool       // guarded by mu; a first Apply is done
	specs   atomic.Pointer[map[string]*spec]
}

var (
	_ service.Driver      = (*Driver)(nil)
	_ service.Environment = (*Driver)(nil)
)

// spec is what a manifest says of a bucket. It does not change.
type spec struct {
	app  mayfly.AppName
	name string
	store
	listened bool // a function has a trigger on it
	public   bool
	external external // whose bucket it is; zero: this node's
	versions bool     // are kept
	quota    int64
	expire   time.Duration
	abort    time.Duration
	cors     *mayfly.CORS
	website  *mayfly.Website // nil: none that the manifest declares
	usage    *usage          // nil: nothing bounds it
}

// Open makes the folders and the keys where they are missing. It does not serve
// yet.
func Open(cfg Config) (*Driver, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Every == 0 {
		cfg.Every = time.Hour
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open buckets: %w", err)
	}
	d := &Driver{cfg: cfg, folders: filepath.Join(dir, "buckets"), intents: filepath.Join(dir, "intents")}
	for _, folder := range []string{d.folders, d.intents} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, fmt.Errorf("open buckets: %w", err)
		}
	}
	node, err := identity.LoadKey(filepath.Join(dir, "node.key"))
	if err != nil {
		return nil, fmt.Errorf("open buckets: %w", err)
	}
	if d.keys, err = openKeyring(node, dir, cfg.Users); err != nil {
		return nil, fmt.Errorf("open buckets: %w", err)
	}
	if d.files, err = openFiles(dir, d.folders); err != nil {
		return nil, fmt.Errorf("open buckets: %w", err)
	}
	d.outward = &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute}
	d.gate, d.strangers = &gate{d: d}, fiber.New()
	d.specs.Store(&map[string]*spec{})
	if d.server, err = newServer(d); err != nil {
		d.files.Shutdown()
		return nil, fmt.Errorf("open buckets: %w", err)
	}
	return d, nil
}

// Admin is the administrator's key.
func (d *Driver) Admin() Key { return d.keys.admin }

// Kind is the kind of resource that grants name.
func (d *Driver) Kind() string { return service.KindBucket }

// Environ is what a function's S3 client needs beside the door's address.
func (d *Driver) Environ(m *mayfly.Manifest, fn mayfly.FunctionName) map[string]string {
	if len(m.Buckets) == 0 {
		return nil
	}
	key := d.keys.function(m.App, fn)
	return map[string]string{
		"AWS_REGION":            Region,
		"AWS_DEFAULT_REGION":    Region,
		"AWS_ACCESS_KEY_ID":     key.Access,
		"AWS_SECRET_ACCESS_KEY": key.Secret,
	}
}

// Check says which names cannot be buckets.
func (d *Driver) Check(m *mayfly.Manifest) error {
	var problems []error
	for name, b := range m.Buckets {
		op := "buckets." + name
		if !mayfly.ValidName(name) || len(name) < 3 || strings.HasSuffix(name, "-") {
			problems = append(problems, mayfly.Errorf(mayfly.Invalid, op, "%q cannot name a bucket: S3 wants 3 or more lower case letters, digits and dashes, with a letter or digit at the end", name))
			continue
		}
		if full := string(m.App) + "." + name; len(full) > 63 {
			problems = append(problems, mayfly.Errorf(mayfly.Invalid, op, "%s is longer than the 63 characters that S3 allows for a bucket; shorten the app's or the bucket's name", full))
		}
		if b != nil {
			problems = append(problems, checkWebsite(op, b.Website))
			problems = append(problems, checkExternal(op, b)...)
		}
	}
	return errors.Join(problems...)
}

// Apply makes the apps' buckets exist as declared. What another server refuses is
// an error where that is news: neither a start nor the deploy of something else
// needs it.
func (d *Driver) Apply(ctx context.Context, apps []*mayfly.Manifest) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := map[string]*spec{}
	old := *d.specs.Load()
	for _, m := range apps {
		for name, b := range m.Buckets {
			if b == nil {
				b = &mayfly.Bucket{}
			}
			s, err := d.newSpec(m, name, b)
			if err == nil {
				err = d.make(ctx, s, b)
			}
			if err != nil && s != nil && s.elsewhere() && (!d.started || s.same(old[s.full()])) {
				d.cfg.Log.Warn("a bucket on another server cannot be used yet", "app", m.App, "bucket", name, "error", err)
				err = nil
			}
			if err != nil {
				return fmt.Errorf("make bucket %s of app %s: %w", name, m.App, err)
			}
			key := s.full()
			d.count(s, old[key])
			next[key] = s
		}
	}
	d.started = true
	d.specs.Store(&next)
	d.keys.apply(apps)
	return nil
}

func (d *Driver) newSpec(m *mayfly.Manifest, name string, b *mayfly.Bucket) (*spec, error) {
	s := &spec{
		app: m.App, name: name, store: d.local(string(m.App) + "." + name),
		versions: b.Versioning, public: b.Public, quota: int64(b.Quota), expire: b.Expire.D(), abort: b.AbortAfter.D(), cors: b.CORS, website: b.Website,
	}
	if s.abort == 0 {
		s.abort = 7 * 24 * time.Hour
	}
	if b.External != "" {
		var err error
		if s.external, err = parseExternal(b); err != nil {
			return nil, err
		}
		if s.store, err = d.openExternal(m.App, s.external); err != nil {
			return nil, err
		}
	}
	if d.cfg.Changed == nil {
		return s, nil
	}
	for _, fn := range m.Functions {
		s.listened = s.listened || slices.ContainsFunc(fn.On, func(t mayfly.Trigger) bool { return t.Bucket == name })
	}
	return s, nil
}

// make creates a bucket or changes it to what is declared. Its cross-origin
// rules are the manifest's alone where that has some.
func (d *Driver) make(ctx context.Context, s *spec, b *mayfly.Bucket) error {
	if s.elsewhere() {
		return d.makeExternal(ctx, s, b)
	}
	err := s.files.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &s.folder, CreateBucketConfiguration: &types.CreateBucketConfiguration{}}, []byte("{}"))
	switch errorCode(err) {
	case "":
	case "BucketAlreadyOwnedByYou", "BucketAlreadyExists":
		// Rights that it had before an app declared it must not come back.
		if err = s.files.PutBucketAcl(ctx, s.folder, []byte("{}")); err == nil {
			err = s.files.DeleteBucketPolicy(ctx, s.folder)
		}
	}
	if err != nil {
		return err
	}
	return d.setVersioning(ctx, s, b.Versioning)
}

func (d *Driver) setVersioning(ctx context.Context, s *spec, want bool) error {
	versions, err := s.files.GetBucketVersioning(ctx, s.folder)
	if err != nil {
		return err
	}
	on := versions.Status != nil && *versions.Status == types.BucketVersioningStatusEnabled
	switch {
	case want && !on:
		return s.files.PutBucketVersioning(ctx, s.folder, types.BucketVersioningStatusEnabled)
	case !want && on:
		return s.files.PutBucketVersioning(ctx, s.folder, types.BucketVersioningStatusSuspended)
	}
	return nil
}

// errorCode is the S3 code of an error, "" for nil.
func errorCode(err error) string {
	var s s3err.S3Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &s):
		return s.BaseError().Code
	}
	return "InternalError"
}

// corsXML is a manifest's rules as S3's configuration.
func corsXML(c *mayfly.CORS) ([]byte, error) {
	type rule struct {
		AllowedOrigin []string
		AllowedMethod []string
		AllowedHeader []string
		ExposeHeader  []string
		MaxAgeSeconds int `xml:",omitempty"`
	}
	r := rule{c.Origins, c.Methods, c.Headers, c.Expose, int(c.MaxAge.D() / time.Second)}
	if len(r.AllowedMethod) == 0 {
		r.AllowedMethod = []string{"GET", "HEAD", "PUT", "POST"}
	}
	if len(r.AllowedHeader) == 0 {
		r.AllowedHeader = []string{"*"}
	}
	return xml.Marshal(struct {
		XMLName  xml.Name `xml:"CORSConfiguration"`
		CORSRule rule
	}{CORSRule: r})
}

// spec is a declared bucket, nil where there is none.
func (d *Driver) spec(app mayfly.AppName, name string) *spec {
	return (*d.specs.Load())[string(app)+"."+name]
}

// retryEvery is how often events that were not accepted are told again.
const retryEvery = 2 * time.Second

// lifecycleFirst is the time from the start to the first lifecycle run: a node may
// never be up for long.
const lifecycleFirst = time.Minute

// Run tells of the writes that an earlier process did not, expires objects and
// aborts old uploads.
func (d *Driver) Run(ctx context.Context) error {
	defer d.server.stop()
	if err := d.server.start(); err != nil {
		return err
	}
	lifecycle, retry := time.NewTimer(min(d.cfg.Every, lifecycleFirst)), time.NewTicker(retryEvery)
	defer lifecycle.Stop()
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-lifecycle.C:
			d.Expire(ctx, time.Now())
			lifecycle.Reset(d.cfg.Every)
		case <-retry.C:
			if d.late.Swap(false) {
				if err := d.reconcile(ctx, false); err != nil {
					d.late.Store(true)
				}
			}
		}
	}
}

// Recover tells of the writes that a process before this one noted and did not
// tell of. It is called once, after Apply and before anything is served.
func (d *Driver) Recover(ctx context.Context) error {
	if d.cfg.Changed == nil {
		return nil
	}
	if err := d.reconcile(ctx, true); err != nil {
		d.late.Store(true) // Run tries again
		return err
	}
	return nil
}

// Close ends the service. It may be called twice.
func (d *Driver) Close() error {
	d.server.stop()
	d.outward.CloseIdleConnections()
	return nil
}
