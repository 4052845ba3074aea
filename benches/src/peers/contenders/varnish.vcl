# Varnish with its built-in rules, which collapse requests, obey Cache-Control and stream to all who wait.
vcl 4.1;

backend site {
    .host = "{{origin_ip}}";
    .port = "{{origin_port}}";
}
