package bucket

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// DefaultIndex is the page of a folder where a manifest names none.
const DefaultIndex = "index.html"

// checkWebsite says what S3 would not take of a manifest's website.
func checkWebsite(op string, w *mayfly.Website) error {
	if w == nil {
		return nil
	}
	if err := websiteOf(w).Validate(); err != nil {
		return mayfly.Errorf(mayfly.Invalid, op+".website", "%s", s3Message(err))
	}
	return nil
}

// s3Message is what an S3 error says, without its XML.
func s3Message(err error) string {
	if e, ok := err.(s3err.S3Error); ok {
		return e.BaseError().Description
	}
	return err.Error()
}

// websiteOf is a manifest's website as S3's configuration.
func websiteOf(w *mayfly.Website) *s3response.WebsiteConfiguration {
	c := &s3response.WebsiteConfiguration{IndexDocument: &s3response.IndexDocument{Suffix: cmp.Or(w.Index, DefaultIndex)}}
	if w.Error != "" {
		c.ErrorDocument = &s3response.ErrorDocument{Key: w.Error}
	}
	for _, r := range w.Redirects {
		c.RoutingRules = append(c.RoutingRules, s3response.RoutingRule{
			Condition: &s3response.RoutingRuleCondition{KeyPrefixEquals: strings.TrimPrefix(r.From, "/")}, Redirect: redirectOf(r),
		})
	}
	return c
}

func redirectOf(r mayfly.WebsiteRedirect) *s3response.Redirect {
	out := &s3response.Redirect{HttpRedirectCode: strconv.Itoa(cmp.Or(r.Status, 301)), ReplaceKeyPrefixWith: strings.TrimPrefix(r.To, "/")}
	if u, err := url.Parse(r.To); err == nil && u.Host != "" {
		out.Protocol, out.HostName = u.Scheme, u.Host
		out.ReplaceKeyPrefixWith = strings.TrimPrefix(strings.TrimPrefix(r.To, u.Scheme+"://"+u.Host), "/")
	}
	return out
}

// website is the configuration of a bucket: its manifest's, else what was put by
// S3; nil where it has none.
func (d *Driver) website(ctx context.Context, p place) (*s3response.WebsiteConfiguration, error) {
	if p.spec != nil && p.spec.website != nil {
		return websiteOf(p.spec.website), nil
	}
	if p.spec != nil && p.spec.elsewhere() {
		return nil, nil
	}
	data, err := p.files.GetBucketWebsite(ctx, p.folder)
	switch errorCode(err) {
	case "":
		return s3response.ParseWebsiteConfigOutput(data)
	case "NoSuchWebsiteConfiguration":
		return nil, nil
	}
	return nil, err
}

// PutBucketWebsite keeps a configuration, which the gateway serves.
func (g *gate) PutBucketWebsite(ctx context.Context, bucket string, website []byte) error {
	return g.in(ctx, bucket, configure, func(p place) error {
		if err := ownWebsite(p); err != nil {
			return err
		}
		return p.files.PutBucketWebsite(ctx, p.folder, website)
	})
}

func (g *gate) DeleteBucketWebsite(ctx context.Context, bucket string) error {
	return g.in(ctx, bucket, configure, func(p place) error {
		if err := ownWebsite(p); err != nil {
			return err
		}
		return p.files.DeleteBucketWebsite(ctx, p.folder)
	})
}

// ownWebsite refuses to change what a manifest says.
func ownWebsite(p place) error {
	switch {
	case p.spec == nil:
	case p.spec.website != nil:
		return denied("the website of this bucket is its app's: it stands under website: in the manifest")
	case p.spec.elsewhere():
		return denied("the objects of this bucket are on another server; say how they are served under website: in the manifest")
	}
	return nil
}

func (g *gate) GetBucketWebsite(ctx context.Context, bucket string) (out []byte, err error) {
	err = g.in(ctx, bucket, service.List, func(p place) error {
		c, err := g.d.website(ctx, p)
		if err != nil {
			return err
		}
		if c == nil {
			return s3err.GetBucketErr(s3err.ErrNoSuchWebsiteConfiguration, bucket)
		}
		out, err = xml.Marshal(c)
		return err
	})
	return out, err
}

// replaced is what a rule makes of a key that matched it, as the path of a URL.
func replaced(rule *s3response.RoutingRule, key string) string {
	r, prefix := rule.Redirect, ""
	if rule.Condition != nil {
		prefix = rule.Condition.KeyPrefixEquals
	}
	switch {
	case r.ReplaceKeyWith != "":
		return plainPath(r.ReplaceKeyWith)
	case r.ReplaceKeyPrefixWith != "":
		return plainPath(r.ReplaceKeyPrefixWith) + escapeKey(strings.TrimPrefix(key, prefix))
	}
	return escapeKey(key)
}

// escapeKey is a key as the path of a URL.
func escapeKey(key string) string {
	return strings.TrimPrefix((&url.URL{Path: "/" + key}).EscapedPath(), "/")
}

// plainPath is what a rule puts in a key's place, as it was written: "#!/" is a
// fragment. Only what a header cannot hold is escaped.
func plainPath(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// before is the first rule for a key that does not ask for an error.
func before(c *s3response.WebsiteConfiguration, key string) *s3response.RoutingRule {
	for i := range c.RoutingRules {
		rule := &c.RoutingRules[i]
		if when := rule.Condition; when == nil || when.HttpErrorCodeReturnedEquals == "" && strings.HasPrefix(key, when.KeyPrefixEquals) {
			return rule
		}
	}
	return nil
}

// after is the first rule for a key whose reading failed with a status.
func after(c *s3response.WebsiteConfiguration, key string, status int) *s3response.RoutingRule {
	for i := range c.RoutingRules {
		rule := &c.RoutingRules[i]
		if rule.Condition != nil && rule.Condition.HttpErrorCodeReturnedEquals != "" && rule.Condition.Matches(key, status) {
			return rule
		}
	}
	return nil
}
