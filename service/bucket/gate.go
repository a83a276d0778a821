package bucket

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// gate is the backend that versitygw calls. It embeds the backend that refuses
// everything, so that an operation which is not written here is refused.
type gate struct {
	backend.BackendUnsupported
	d *Driver
}

// configure is the verb of operations on a bucket itself. No grant has it, so
// that only the administrator may do them.
const configure = "configure"

// place is a bucket that a call may use.
type place struct {
	store
	app    mayfly.AppName
	bucket string
	spec   *spec        // nil where no app declares it
	trace  mayfly.Trace // of the operation; zero: none is known
	hops   int          // functions that the operation's cause went through
}

// open is find for an operation that versitygw has allowed to who. What an app
// declares is for its functions, its keys and the administrator: neither an account's
// rights nor a policy reach it.
func (g *gate) open(who mayfly.Caller, name string) (place, error) {
	p, err := g.find(who, name)
	if err == nil && p.spec != nil && outside(who) {
		err = denied("the bucket belongs to an app; its functions and the administrator may use it")
	}
	return p, err
}

// outside is a caller whose rights are the buckets' own: an account of the S3
// port, or nobody.
func outside(who mayfly.Caller) bool {
	return who.Kind == mayfly.CallerUser && who.App == "" || who.Kind == mayfly.CallerAnonymous
}

// member is a caller who knows the buckets of one app by their own names, and may
// do what lines of allow say: a function, or whoever has a key of the app.
func member(who mayfly.Caller) bool { return who.App != "" }

// account is the access key that signed a call; "" before the signature was
// verified.
func account(ctx context.Context) string {
	acct, _ := ctx.Value("account").(auth.Account)
	return acct.Access
}

// claimed is the access key that a call says it has. It only decides which
// bucket's cross-origin rules answer a preflight.
func claimed(ctx context.Context) string {
	rc, ok := ctx.(*fasthttp.RequestCtx)
	if !ok {
		return ""
	}
	credential := string(rc.QueryArgs().Peek("X-Amz-Credential"))
	if credential == "" {
		_, credential, _ = strings.Cut(string(rc.Request.Header.Peek("Authorization")), "Credential=")
	}
	access, _, _ := strings.Cut(credential, "/")
	return access
}

// caller is who makes the call: by its signature, or the platform by its
// context.
func (g *gate) caller(ctx context.Context) mayfly.Caller {
	if access := account(ctx); access != "" {
		who := g.d.keys.caller(access)
		if who.Kind == mayfly.CallerFunction {
			who.PID = g.d.server.pidOf(ctx)
		}
		return who
	}
	if _, ok := ctx.(*fasthttp.RequestCtx); ok {
		return mayfly.Caller{Kind: mayfly.CallerAnonymous}
	}
	return mayfly.CallerFrom(ctx)
}

// find is the bucket that who means by name. A name with a dot is APP.BUCKET;
// another is a bucket of the caller's own app.
//
// What versitygw hands over is a part of the request's buffer, which the next
// request overwrites: a place keeps its own texts.
func (g *gate) find(who mayfly.Caller, name string) (place, error) {
	name = strings.Clone(name)
	app, bucket, full := strings.Cut(name, ".")
	if !full && member(who) {
		app, bucket = string(who.App), name
	}
	p := place{app: mayfly.AppName(app), bucket: bucket}
	foreign := member(who) && p.app != who.App
	if p.spec = g.d.spec(p.app, bucket); p.spec != nil && !foreign {
		p.store = p.spec.store
		return p, nil
	}
	if member(who) {
		return p, s3err.GetBucketErr(s3err.ErrNoSuchBucket, name)
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, `/\`) {
		return p, s3err.GetBucketErr(s3err.ErrInvalidBucketName, name)
	}
	p.app, p.bucket, p.store = "", name, g.d.local(name)
	return p, nil
}

// enter finds the bucket and asks whether the caller may do verb to it.
func (g *gate) enter(ctx context.Context, name, verb string) (place, error) {
	who := g.caller(ctx)
	p, err := g.open(who, name)
	if outside(who) {
		return p, err
	}
	if err != nil && who.Kind != mayfly.CallerAdmin {
		if denied := g.authorize(ctx, who, p, verb); denied != nil {
			return p, denied
		}
	}
	if err != nil {
		return p, err
	}
	return p, g.authorize(ctx, who, p, verb)
}

func (g *gate) authorize(ctx context.Context, who mayfly.Caller, p place, verb string) error {
	if verb == configure && member(who) {
		return denied("buckets are declared in the manifest; a function or a key of an app cannot create, delete or configure them")
	}
	err := g.d.cfg.Authz.Authorize(ctx, who, p.app, verb, service.KindBucket, p.bucket)
	if err == nil {
		return nil
	}
	return denied(mayfly.MessageOf(err))
}

func denied(message string) error {
	return s3err.APIError{Code: "AccessDenied", Description: message, HTTPStatusCode: http.StatusForbidden}
}

// on runs one operation whose input names the bucket in *name: the name is the
// folder meanwhile.
func (g *gate) on(ctx context.Context, name *string, verb string, do func(p place) error) error {
	said := *name
	p, err := g.enter(ctx, said, verb)
	if err != nil {
		return err
	}
	*name = p.folder
	end := g.trace(ctx, &p, verb)
	err = do(p)
	end(err)
	*name = said
	return g.explain(p, hide(err, said))
}

// in is on for an operation that takes the bucket as an argument.
func (g *gate) in(ctx context.Context, name, verb string, do func(p place) error) error {
	return g.on(ctx, &name, verb, do)
}

// hide puts the bucket's name where an error has its folder.
func hide(err error, name string) error {
	var b s3err.BucketError
	if errors.As(err, &b) {
		b.BucketName = name
		return b
	}
	return err
}

// checkKey refuses keys that would leave the bucket's folder, or that name what
// versitygw keeps in it.
func checkKey(key *string) error {
	if key == nil {
		return nil
	}
	if strings.ContainsRune(*key, 0) {
		return s3err.APIError{Code: "InvalidArgument", Description: "a key cannot have a NUL byte", HTTPStatusCode: http.StatusBadRequest}
	}
	for part := range strings.SplitSeq(*key, "/") {
		if part == ".." || part == "." {
			return s3err.APIError{Code: "InvalidArgument", Description: "a key cannot have . or .. as a part", HTTPStatusCode: http.StatusBadRequest}
		}
	}
	if first, _, _ := strings.Cut(*key, "/"); first == ".sgwtmp" {
		return s3err.APIError{Code: "InvalidArgument", Description: "keys below .sgwtmp are reserved", HTTPStatusCode: http.StatusBadRequest}
	}
	return nil
}
