/** The one namespace there is; faas-cli appends it to every name it invokes. */
export const NAMESPACE = 'openfaas-fn'

/** The user name that OpenFaaS's tools log in with; the password is an admin token. */
export const ADMIN_USER = 'admin'
