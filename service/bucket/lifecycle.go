package bucket

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3response"

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
	old, err := d.oldUploads(ctx, s, before)
	if err != nil {
		return err
	}
	for _, u := range old {
		bucket := s.full()
		if err := d.gate.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &u.Key, UploadId: &u.UploadID}); err != nil {
			return err
		}
	}
	return nil
}

// oldUploads are those that began before a time. Pages are read before any is
// aborted: the next one begins at an upload that is there.
func (d *Driver) oldUploads(ctx context.Context, s *spec, before time.Time) (old []s3response.Upload, err error) {
	key, upload := "", ""
	for {
		bucket, empty, most := s.full(), "", int32(1000)
		page, err := d.gate.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{
			Bucket: &bucket, Prefix: &empty, Delimiter: &empty, KeyMarker: &key, UploadIdMarker: &upload, MaxUploads: &most,
		})
		if err != nil {
			return nil, err
		}
		for _, u := range page.Uploads {
			if !u.Initiated.After(before) {
				old = append(old, u)
			}
		}
		if !page.IsTruncated || page.NextKeyMarker == "" {
			return old, nil
		}
		key, upload = page.NextKeyMarker, page.NextUploadIDMarker
	}
}
