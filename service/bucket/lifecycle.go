package bucket

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/mayfly-cloud/mayfly"
)

// Expire deletes objects past their bucket's time, aborts uploads that are too
// old, and counts anew what counts towards a quota. Run calls it by itself.
func (d *Driver) Expire(ctx context.Context, now time.Time) {
	ctx = mayfly.WithCaller(ctx, mayfly.Caller{Kind: mayfly.CallerPlatform})
	for _, s := range *d.specs.Load() {
		var err error
		if s.expire > 0 {
			err = d.expireObjects(ctx, s, now.Add(-s.expire))
		}
		err = errors.Join(err, d.abortUploads(ctx, s, now.Add(-s.abort)))
		d.recount(s)
		if err != nil && ctx.Err() == nil {
			d.cfg.Log.Warn("the lifecycle of a bucket is not done; it goes on with the next run", "app", s.app, "bucket", s.name, "error", err)
		}
	}
}

func (s *spec) full() string { return string(s.app) + "." + s.name }

func (d *Driver) expireObjects(ctx context.Context, s *spec, before time.Time) error {
	var next *string
	for {
		bucket := s.full()
		page, err := d.gate.ListObjectsV2(ctx, listInput(&bucket, "", next, 1000))
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			if o.LastModified == nil || o.LastModified.After(before) {
				continue
			}
			bucket, key := s.full(), *o.Key
			if _, err := d.gate.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
				return err
			}
		}
		if next = page.NextContinuationToken; next == nil || *next == "" {
			return nil
		}
	}
}

// listInput fills what versitygw takes for granted.
func listInput(bucket *string, prefix string, next *string, most int32) *s3.ListObjectsV2Input {
	empty := ""
	if next == nil {
		next = &empty
	}
	return &s3.ListObjectsV2Input{Bucket: bucket, Prefix: &prefix, ContinuationToken: next, StartAfter: &empty, Delimiter: &empty, MaxKeys: &most}
}

func (d *Driver) abortUploads(ctx context.Context, s *spec, before time.Time) error {
	bucket, empty, most := s.full(), "", int32(1000)
	page, err := d.gate.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{
		Bucket: &bucket, Prefix: &empty, Delimiter: &empty, KeyMarker: &empty, UploadIdMarker: &empty, MaxUploads: &most,
	})
	if err != nil {
		return err
	}
	for _, u := range page.Uploads {
		if u.Initiated.After(before) {
			continue
		}
		bucket, key, id := s.full(), u.Key, u.UploadID
		if err := d.gate.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: &id}); err != nil {
			return err
		}
	}
	return nil
}
