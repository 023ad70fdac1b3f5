package wds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// What ztunnel allows istiod and the network between (contract ambient, section 2.1).
const (
	connectTimeout   = 5 * time.Second
	keepaliveTime    = 30 * time.Second
	keepaliveTimeout = 10 * time.Second
	maxResponse      = 200 << 20
)

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, "tcp", address)
}

// connect prepares a connection for one stream. There is a new one for each, because roots and the address behind istiod's
// name change, and because the policy of retrying is ours and not gRPC's. No proxy of the environment is asked: between us and
// istiod is the cluster's network only.
func (c *Client) connect() (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if c.opt.TLS != nil {
		config, err := c.opt.TLS()
		switch {
		case err != nil:
			return nil, fmt.Errorf("TLS: %w", err)
		case config == nil:
			return nil, errors.New("TLS: there is no configuration")
		}
		creds = credentials.NewTLS(config)
	}
	return grpc.NewClient("passthrough:///"+c.opt.Address,
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(c.opt.Dial),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithUserAgent(product+"-waypoint"),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: grpcbackoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
	)
}
