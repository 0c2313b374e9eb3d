# nomad job run examples/nomad.hcl
#
# Nomad signs a token for the task (its workload identity), and vault-exec logs in with it. Vault has a JWT method for it:
#
#     vault auth enable -path=jwt-nomad jwt
#     vault write auth/jwt-nomad/config jwks_url=http://127.0.0.1:4646/.well-known/jwks.json default_role=app
#     echo '{ "role_type": "jwt", "user_claim": "nomad_job_id", "bound_audiences": "vault.io",
#             "bound_claims": { "nomad_job_id": "app" }, "token_policies": "app", "token_ttl": "5m" }' |
#         vault write auth/jwt-nomad/role/app -
job "app" {
  type = "service"

  group "app" {
    # A start that Vault refuses does not get better by being repeated.
    restart {
      attempts = 2
      mode     = "fail"
    }

    task "app" {
      driver = "exec"

      config {
        command = "/usr/bin/vault-exec"
        args    = ["--", "/usr/bin/python3", "/srv/app.py"]
      }

      identity {
        name = "vault-exec"
        aud  = ["vault.io"]
        file = true
        ttl  = "1h"
      }

      env {
        VAULT_ADDR        = "https://vault.example.com:8200"
        VAULT_AUTH_METHOD = "jwt"
        VAULT_AUTH_MOUNT  = "jwt-nomad"
        VAULT_ROLE        = "app"
        VAULT_JWT_FILE    = "${NOMAD_SECRETS_DIR}/nomad_vault-exec.jwt"
        # In HCL `$${` is a literal `${`.
        DB_URL = "postgres://$${vault:secret/app#user}:$${vault:secret/app#password}@db/app"
      }
    }
  }
}
