package sql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
	"golang.org/x/sync/errgroup"
)

// Bucket is where an app's bucket is reached by S3.
type Bucket struct {
	Endpoint, Region, Name string
	KeyID, Secret          string
}

// bucketClient keeps copies in a bucket, under the names that litestream's own
// client for S3 gives them, so that litestream's program can read them. That
// client takes settings from the environment of the process; this one does not.
type bucketClient struct {
	s3     *s3.Client
	bucket string
	prefix string
}

var _ litestream.ReplicaClient = (*bucketClient)(nil)

// timestampKey is litestream's name for the time of a file among its metadata.
const timestampKey = "litestream-timestamp"

func newBucketClient(b Bucket, prefix string) *bucketClient {
	return &bucketClient{
		s3: s3.New(s3.Options{
			BaseEndpoint: &b.Endpoint, Region: b.Region, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(b.KeyID, b.Secret, ""),
		}),
		bucket: b.Name, prefix: prefix,
	}
}

func (c *bucketClient) Type() string               { return "s3" }
func (c *bucketClient) Init(context.Context) error { return nil }
func (c *bucketClient) SetLogger(*slog.Logger)     {}

func (c *bucketClient) level(level int) string { return fmt.Sprintf("%s/%04x/", c.prefix, level) }

func (c *bucketClient) key(level int, from, to ltx.TXID) string {
	return c.level(level) + ltx.FormatFilename(from, to)
}

// LTXFiles are the files of a level from a transaction on, in their order. The
// times that a restore needs are read with exact.
func (c *bucketClient) LTXFiles(ctx context.Context, level int, seek ltx.TXID, exact bool) (ltx.FileIterator, error) {
	var files []*ltx.FileInfo
	err := c.each(ctx, c.level(level), func(o *types.Object) {
		from, to, err := ltx.ParseFilename(path.Base(aws.ToString(o.Key)))
		if err == nil && from >= seek {
			files = append(files, &ltx.FileInfo{Level: level, MinTXID: from, MaxTXID: to, Size: aws.ToInt64(o.Size), CreatedAt: aws.ToTime(o.LastModified)})
		}
	})
	if err == nil && exact {
		err = c.date(ctx, files)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b *ltx.FileInfo) int {
		return strings.Compare(ltx.FormatFilename(a.MinTXID, a.MaxTXID), ltx.FormatFilename(b.MinTXID, b.MaxTXID))
	})
	return ltx.NewFileInfoSliceIterator(files), nil
}

func (c *bucketClient) each(ctx context.Context, prefix string, use func(o *types.Object)) error {
	pages := s3.NewListObjectsV2Paginator(c.s3, &s3.ListObjectsV2Input{Bucket: &c.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list copies: %w", err)
		}
		for i := range page.Contents {
			use(&page.Contents[i])
		}
	}
	return nil
}

// date asks for the times of files.
func (c *bucketClient) date(ctx context.Context, files []*ltx.FileInfo) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, f := range files {
		group.Go(func() error {
			key := c.key(f.Level, f.MinTXID, f.MaxTXID)
			head, err := c.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &c.bucket, Key: &key})
			if missing(err) {
				return nil // it was merged into another meanwhile
			}
			if err != nil {
				return fmt.Errorf("read the time of copy %s: %w", key, err)
			}
			if at, err := time.Parse(time.RFC3339Nano, head.Metadata[timestampKey]); err == nil {
				f.CreatedAt = at
			}
			return nil
		})
	}
	return group.Wait()
}

// OpenLTXFile reads a file, or size bytes of it where size is not 0. Its error
// is os.ErrNotExist where there is no such file.
func (c *bucketClient) OpenLTXFile(ctx context.Context, level int, from, to ltx.TXID, offset, size int64) (io.ReadCloser, error) {
	in := &s3.GetObjectInput{Bucket: &c.bucket, Key: aws.String(c.key(level, from, to))}
	if offset > 0 || size > 0 {
		span := "bytes=" + strconv.FormatInt(offset, 10) + "-"
		if size > 0 {
			span += strconv.FormatInt(offset+size-1, 10)
		}
		in.Range = &span
	}
	out, err := c.s3.GetObject(ctx, in)
	if missing(err) {
		return nil, os.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("read copy %s: %w", *in.Key, err)
	}
	return out.Body, nil
}

func missing(err error) bool {
	var e smithy.APIError
	return errors.As(err, &e) && (e.ErrorCode() == "NoSuchKey" || e.ErrorCode() == "NotFound")
}

// WriteLTXFile puts a file, by way of the disk: S3 wants to know its length and
// checksum first.
func (c *bucketClient) WriteLTXFile(ctx context.Context, level int, from, to ltx.TXID, r io.Reader) (*ltx.FileInfo, error) {
	header, r, err := ltx.PeekHeader(r)
	if err != nil {
		return nil, fmt.Errorf("read copy: %w", err)
	}
	tmp, err := os.CreateTemp("", "mayfly-copy-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	size, err := io.Copy(tmp, r)
	if err != nil {
		return nil, err
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	at := time.UnixMilli(header.Timestamp).UTC()
	_, err = c.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &c.bucket, Key: aws.String(c.key(level, from, to)), Body: tmp, ContentLength: &size, Metadata: map[string]string{timestampKey: at.Format(time.RFC3339Nano)},
	})
	if err != nil {
		return nil, fmt.Errorf("write copy: %w", err)
	}
	return &ltx.FileInfo{Level: level, MinTXID: from, MaxTXID: to, Size: size, CreatedAt: at}, nil
}

func (c *bucketClient) DeleteLTXFiles(ctx context.Context, files []*ltx.FileInfo) error {
	for _, f := range files {
		if err := c.remove(ctx, c.key(f.Level, f.MinTXID, f.MaxTXID)); err != nil {
			return err
		}
	}
	return nil
}

func (c *bucketClient) remove(ctx context.Context, key string) error {
	if _, err := c.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &c.bucket, Key: &key}); err != nil && !missing(err) {
		return fmt.Errorf("delete copy %s: %w", key, err)
	}
	return nil
}

func (c *bucketClient) DeleteAll(ctx context.Context) error {
	var keys []string
	if err := c.each(ctx, c.prefix+"/", func(o *types.Object) { keys = append(keys, aws.ToString(o.Key)) }); err != nil {
		return err
	}
	for _, key := range keys {
		if err := c.remove(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
